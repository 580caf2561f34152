/**
 * Names of everything a stack owns on the engine and in the database. Every engine object carries the stack, so that
 * dev, prod and any number of CI stacks live on one engine without meeting.
 */

/** Label on every container, network and volume; its value is the stack. */
export const STACK_LABEL = "ai-workflow-database.stack";

/** Label of a network with the id of the state that it belongs to; networks of older releases have none. */
export const STATE_LABEL = "ai-workflow-database.state";
/** Label of a container that only writes a volume's files: the volume's name. */
export const HELPER_LABEL = "ai-workflow-database.helper";
/** File in the volumes of configuration: id of the state that the stack belongs to, a space, and who made it. */
export const IDENTITY_FILE = "identity";
/** The same in the data volume, beside the cluster: whose passwords the roles in it have. */
export const DATA_IDENTITY_FILE = ".identity";
/** Label on the network of a stack that expires: hours from the network's creation. */
export const EXPIRY_LABEL = "ai-workflow-database.expires-after-hours";

/** Databases on a server for tests that are not the stack's own: what tests get, and what it is copied from. */
export const TEST_DATABASE_PREFIX = "aiwdb_test_";
export const TEMPLATE_DATABASE_PREFIX = "aiwdb_tmpl_";

/**
 * Setting of every stack's database that says what it is for: production, development or test. Test databases are made
 * only on a server whose stack's database says test.
 */
export const ENVIRONMENT_SETTING = "aiwdb.environment";
export type Environment = "production" | "development" | "test";

/** Roles of the database cluster. They belong to the cluster, not to a migration. */
export const ROLES = {
  /** Owns the database and runs the migrations; direct connections only. */
  owner: "ai_workflow_owner",
  /** The application: reads and writes, no DDL. */
  app: "app_user",
  /** Reads, except secrets. */
  readonly: "app_readonly",
  /** pg_monitor and the pooler's statistics. */
  monitor: "app_monitor",
  /** The pooler's own login, which can call the lookup function and nothing else. */
  pooler: "pgbouncer",
  /** Owns the lookup function; cannot log in. */
  lookupOwner: "pgbouncer_lookup",
  /** The bootstrap superuser: local socket, or loopback with certificate and password. */
  superuser: "postgres",
} as const;

/** Roles that may come through the pooler. */
export const POOLED_ROLES = [ROLES.app, ROLES.readonly, ROLES.monitor] as const;
export type PooledRole = (typeof POOLED_ROLES)[number];

/** Roles a person or program may ask a URL for. */
export const CLIENT_ROLES = [ROLES.app, ROLES.readonly, ROLES.monitor, ROLES.owner, ROLES.superuser] as const;
export type ClientRole = (typeof CLIENT_ROLES)[number];

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
