import { engineNames } from "../infra/settings/names.ts";
import { ROLES } from "../database/access/roles.ts";
import { engineClient, engineFromEnv } from "../toolchain/engine/client.ts";
import { inspect } from "../toolchain/engine/containers.ts";
import { askServer } from "../database/ask-server.ts";
import { resourcesOf } from "./backend.ts";
import { TYPES } from "./engine-damage.ts";
import { type Session } from "./pulumi-run.ts";
import { readState } from "./session.ts";
import { readStackConfig } from "./settings-file.ts";

/**
 * Import ids of the roles and the database that exist in the stack's cluster and that its state does not know. None if
 * the server does not run.
 */
export async function findAdoptable(session: Session): Promise<string[]> {
  const { databaseName } = readStackConfig(session.stack);
  const host = engineFromEnv(session.env);
  if (!host) return [];
  const docker = engineClient(host);
  const { postgres } = engineNames(session.stack);
  const roles = Object.values(ROLES).filter((role) => role !== ROLES.superuser);
  const sql = `select rolname from pg_roles where rolname in (${roles.map((role) => `'${role}'`).join(", ")})
    union all select datname from pg_database where datname = '${databaseName}'`;
  const server = await inspect(docker, postgres);
  const resources = resourcesOf(await readState(session));
  // Nothing of another state's server may be adopted.
  if (server === undefined || !resources.some(({ id }) => id === server.Id)) return [];
  // Without the superuser's password nothing can log in to adopt them.
  if (!resources.some(({ type }) => type === TYPES.superuser)) return [];
  const answer = (await askServer(docker, postgres, sql)) ?? "";
  const present = answer.split("\n").filter((line) => line !== "");
  const recorded = new Set(resources.filter(({ type }) => type.startsWith("postgresql:")).map(({ id }) => id));
  return present.filter((name) => !recorded.has(name));
}
