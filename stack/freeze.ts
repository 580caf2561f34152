import type Docker from "dockerode";
import { engineNames } from "../infra/settings/names.ts";
import { CONNECTING_ROLES } from "../database/access/rights.ts";
import { type Problem, StateError } from "../base/errors.ts";
import { askServer } from "../database/ask-server.ts";

/** The problem of a role or a database that may not write. */
export const FROZEN = "takes no changes: default_transaction_read_only is on";

/**
 * A query for each place where somebody froze writing, with columns `subject`, `problem` and `remedy`, for use in a
 * larger query. A frozen session can end the freeze only in a transaction that says that it writes.
 */
export const freezeSql = (database: string): string => `
  select coalesce('role ' || rolname, 'database ' || datname, 'role all') as subject,
    '${FROZEN}' || case when rolname is not null and datname is not null then ' in ' || datname else '' end as problem,
    format('When changes are allowed again: \`begin read write; alter %s%s reset default_transaction_read_only; commit\`.',
      coalesce('role ' || quote_ident(rolname), 'database ' || quote_ident(datname), 'role all'),
      case when rolname is not null and datname is not null then ' in database ' || quote_ident(datname) end) as remedy
  from pg_db_role_setting cross join unnest(setconfig) as pair
  left join pg_roles on pg_roles.oid = setrole left join pg_database on pg_database.oid = setdatabase
  where pair ~* '^default_transaction_read_only=(on|t|tr|tru|true|y|ye|yes|1)$' and coalesce(datname, '${database}') in ('${database}', 'postgres')
  union all
  select 'PostgreSQL', '${FROZEN}',
    'Take default_transaction_read_only out of postgresql.auto.conf (\`alter system reset default_transaction_read_only; select pg_reload_conf()\`).'
  from pg_settings where name = 'default_transaction_read_only' and reset_val = 'on' and source not in ('user', 'database', 'database user')`;

/** Roles whose freeze does not matter here, because the package writes as none of them. */
const NOT_OURS: ReadonlySet<string> = new Set(CONNECTING_ROLES.map((role) => `role ${role}`));

/** Places where somebody froze what we would write; none where the server does not run. */
export async function findFrozen(
  docker: Docker,
  stack: string,
  database: string,
  postgres: string = engineNames(stack).postgres,
): Promise<Problem[]> {
  const sql = `select coalesce(json_agg(found), '[]') from (${freezeSql(database)}) as found`;
  const answer = (await askServer(docker, postgres, sql)) ?? "[]";
  return (JSON.parse(answer) as Problem[]).filter(({ subject }) => !NOT_OURS.has(subject));
}

/**
 * Refuses to change what somebody froze on purpose.
 *
 * @param postgres container of the server. @default the stack's own
 * @throws StateError naming where it is frozen, and how to take that back
 */
export async function refuseFrozen(docker: Docker, stack: string, database: string, postgres?: string): Promise<void> {
  const found = await findFrozen(docker, stack, database, postgres);
  if (found.length > 0) throw new StateError(`Stack "${stack}" is frozen; nothing has been changed:`, found);
}
