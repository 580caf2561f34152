/**
 * Names of everything a stack owns on the engine and in the database. Every engine object carries the stack, so that
 * dev, prod and any number of CI stacks live on one engine without meeting.
 */

/** Namespace of every key in `Pulumi.<stack>.yaml`; the name of the Pulumi project. */
export const PROJECT = "ai-workflow-database";

/** The one name every stack's database has, so that development and production cannot drift apart again. */
export const STANDARD_DATABASE_NAME = "ai_workflow_db";

/** A stack's name goes into names of containers, volumes and networks, which share one engine. */
export const STACK_NAME = /^[a-z][a-z0-9-]{0,29}$/;

/** Label on every container, network and volume; its value is the stack. */
export const STACK_LABEL = "ai-workflow-database.stack";

/** Label of a network with the id of the state that it belongs to; networks of older releases have none. */
export const STATE_LABEL = "ai-workflow-database.state";
/** Label of a container that only writes a volume's files: the volume's name. */
export const HELPER_LABEL = "ai-workflow-database.helper";
/** File in the volumes of configuration: id of the stack's state, a space, and who made it as user@host. */
export const IDENTITY_FILE = "identity";
/** The same file in the data volume, beside the cluster. It says whose passwords the roles in the cluster have. */
export const DATA_IDENTITY_FILE = ".identity";
/** Label on the network of a stack that expires: hours from the network's creation. */
export const EXPIRY_LABEL = "ai-workflow-database.expires-after-hours";

/** Databases on a server for tests that are not the stack's own: what tests get, and what it is copied from. */
export const TEST_DATABASE_PREFIX = "aiwdb_test_";
export const TEMPLATE_DATABASE_PREFIX = "aiwdb_tmpl_";

/** PgBouncer's entry in session mode, beside the one in transaction mode that has the database's own name. */
export function sessionDatabase(databaseName: string): string {
  return `${databaseName}_session`;
}

/** PgBouncer's entry for looking up secrets; no client may use it. */
export function lookupDatabase(databaseName: string): string {
  return `${databaseName}_lookup`;
}

/** Engine objects of one stack. */
export function engineNames(stack: string) {
  const name = (part: string) => `aiwdb-${stack}-${part}`;
  return {
    network: name("network"),
    postgres: name("postgres"),
    pgbouncer: name("pgbouncer"),
    maintenance: name("maintenance"),
    dataVolume: name("data"),
    postgresConfigVolume: name("postgres-config"),
    pgbouncerConfigVolume: name("pgbouncer-config"),
    maintenanceConfigVolume: name("maintenance-config"),
  } as const;
}
