import { engineNames, ROLES } from "../../infra/names.ts";
import { localSql } from "../../infra/provider/engine.ts";
import { engineClient, engineFromEnv } from "../../toolchain/engine-client.ts";
import { capture, type Session } from "./session.ts";
import type { StateResource } from "./backend.ts";
import { readStackConfig } from "./settings-file.ts";

/**
 * Roles, database and extension that exist in the stack's cluster and that its state does not know, in the form the
 * program takes them in `AIWDB_ADOPT`: the import id of each.
 */
export async function findAdoptable(session: Session): Promise<string[]> {
  const { databaseName } = readStackConfig(session.stack);
  const host = engineFromEnv(session.env);
  if (!host) return [];
  const roles = Object.values(ROLES).filter((role) => role !== ROLES.superuser);
  const sql = `select rolname from pg_roles where rolname in (${roles.map((role) => `'${role}'`).join(", ")})
    union all select datname from pg_database where datname = '${databaseName}'`;
  const answer = await localSql(engineClient(host), engineNames(session.stack).postgres, sql);
  const present = answer.split("\n").filter((line) => line !== "");
  const recorded = await recordedIds(session);
  return present.filter((name) => !recorded.has(name));
}

async function recordedIds(session: Session): Promise<Set<string>> {
  const { stdout } = await capture(session, ["stack", "export", ...session.stackArguments]);
  const { deployment } = JSON.parse(stdout) as { deployment: { resources?: StateResource[] } };
  return new Set(
    (deployment.resources ?? [])
      .filter(({ type }) => type.startsWith("postgresql:"))
      .flatMap(({ id }) => (id ? [id] : [])),
  );
}
