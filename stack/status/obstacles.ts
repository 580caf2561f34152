import type Docker from "dockerode";
import type { Problem } from "../../base/errors.ts";
import { findExtensionsSql, type FoundExtensions } from "../../database/access/extensions.ts";
import { ROLES } from "../../database/access/roles.ts";
import type { ConnectionInfo } from "../../infra/database-stack.ts";
import { localSql } from "../../database/local-sql.ts";
import { freezeSql, FROZEN } from "../freeze.ts";
import type { StackOutputs } from "../session.ts";
import { inTime } from "./look.ts";
import { showAtPooler } from "./pooler-console.ts";

/**
 * Whether an obstacle keeps only the status from looking, because a role by which it looks cannot log in. Then nothing
 * is wrong with the stack's clients.
 */
export const isBlinding = ({ subject, problem }: Problem): boolean =>
  [ROLES.monitor, ROLES.owner].some((role) => subject === `role ${role}`) && !problem.startsWith(FROZEN);

/** Asks by the container's own socket, so that the status can say which roles are locked out. */
export async function obstaclesInPostgres(
  docker: Docker,
  { containers, database, roles: clients }: ConnectionInfo,
): Promise<Problem[]> {
  const own = Object.values(ROLES).filter((role) => role !== ROLES.lookupOwner);
  const roles = new Set([...own, ...clients]);
  const found = await localSql(
    docker,
    containers.postgres,
    `select coalesce(json_agg(json_build_object('subject', subject, 'problem', problem)), '[]') from (
       select 'role ' || wanted.name as subject, case
           when rolname is null then 'is not there'
           when not rolcanlogin then 'may not log in (NOLOGIN)'
           when rolconnlimit = 0 then 'may not log in (CONNECTION LIMIT 0)'
           else 'may not log in: its password was valid until ' || rolvaliduntil
         end as problem
       from unnest('{${[...roles].join(",")}}'::text[]) as wanted (name) left join pg_roles on rolname = wanted.name
       where rolname is null or not rolcanlogin or rolconnlimit = 0 or rolvaliduntil <= now()
       union all
       select subject, problem from (${freezeSql(database)}) as frozen
     ) as found`,
    { signal: inTime() },
  );
  return JSON.parse(found) as Problem[];
}

/** Extensions of the settings that the database does not have. */
export async function missingExtensions(
  docker: Docker,
  { containers, database }: ConnectionInfo,
  wanted: readonly string[],
): Promise<Problem[]> {
  if (wanted.length === 0) return [];
  const found = await localSql(docker, containers.postgres, findExtensionsSql([]), { database, signal: inTime() });
  const { present } = JSON.parse(found) as FoundExtensions;
  return wanted
    .filter((name) => !present.includes(name))
    .map((name) => ({
      subject: `extension ${name}`,
      problem: "is in the settings and not in the database: `up` creates it",
    }));
}

export async function obstaclesInPgBouncer(docker: Docker, outputs: StackOutputs): Promise<Problem[]> {
  const databases = (await showAtPooler(docker, outputs, "show databases")).flatMap(({ rows }) => rows);
  return databases
    .filter(({ paused, disabled }) => paused === "1" || disabled === "1")
    .map(({ name = "", paused }) => ({
      subject: `PgBouncer's database ${name}`,
      problem: paused === "1" ? "is paused: clients wait (`PAUSE`)" : "is disabled: no client gets in (`DISABLE`)",
    }));
}
