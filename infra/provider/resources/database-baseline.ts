import { PROTECT_TABLE_SQL } from "../../../migrate/run/applied.ts";
import { ENVIRONMENT_SETTING, type Environment } from "../../../database/environment.ts";
import { ROLES } from "../../../database/access/roles.ts";
import { withConnection, type Connection } from "../../../database/connection.ts";
import { changedProperties, UNKNOWN, type ResourceType } from "../resource.ts";
import { PUBLIC_FUNCTION_STATEMENTS } from "../../../database/access/public-functions.ts";

export interface DatabaseBaselineInputs {
  /** The superuser's; secret. */
  readonly connection: Connection;
  /** Of the function `pgbouncer.lookup(text)`; cannot log in. */
  readonly owner: string;
  /** The pooler's login. */
  readonly caller: string;
  /** Those that may come through the pooler. */
  readonly roles: readonly string[];
  /** What the database is for: test tools refuse everything that does not say "test". */
  readonly environment: Environment;
}

export interface DatabaseBaselineOutputs {
  /** Of the statements that were applied. */
  readonly version: number;
}

/** Raise it when the statements below change, so that existing stacks get them. */
const VERSION = 3;

const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`;
const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** What a role makes from now on, PUBLIC may not call unless a migration says so; it could before. */
export const functionDefaults = (owner: string) =>
  `alter default privileges for role ${identifier(owner)} revoke execute on routines from public;`;

/** What the owner's new tables give to the application's roles, and its functions to nobody, as ai_workflow_owner's do. */
export const defaultPrivileges = (owner: string) => `
  alter default privileges for role ${identifier(owner)} in schema public grant select, insert, update, delete on tables to ${ROLES.app};
  alter default privileges for role ${identifier(owner)} in schema public grant usage, select on sequences to ${ROLES.app};
  alter default privileges for role ${identifier(owner)} in schema public grant select on tables to ${ROLES.readonly};
  ${functionDefaults(owner)}`;

/**
 * PUBLIC's rights, which every role has, and the lookup function with the few rights it needs. The function's owner can read
 * seven columns of pg_authid and nothing else; it tells the secrets of the pooled roles only, never of a superuser or replication role (CVE-2025-2291: and of no role
 * past its VALID UNTIL). The search_path is fixed, with the caller's temporary schema last, and every name qualified
 * (CVE-2025-12819).
 */
export function baselineStatements(database: string, owner: string, caller: string, roles: readonly string[]): string {
  return `
    revoke all on database ${identifier(database)} from public;
    revoke create on schema public from public;
    ${functionDefaults(ROLES.owner)}
    do $$
    declare
      made pg_catalog.regprocedure;
    begin
      for made in select oid from pg_catalog.pg_proc where proowner = '${ROLES.owner}'::pg_catalog.regrole loop
        execute pg_catalog.format('revoke execute on routine %s from public', made);
      end loop;
    end
    $$;
    ${PUBLIC_FUNCTION_STATEMENTS}
    revoke all on public.pg_stat_statements, public.pg_stat_statements_info from public;
    grant select on public.pg_stat_statements, public.pg_stat_statements_info to pg_monitor;
    revoke execute on function public.pg_stat_statements(boolean), public.pg_stat_statements_info() from public;
    grant execute on function public.pg_stat_statements(boolean), public.pg_stat_statements_info() to pg_monitor;
    create schema if not exists pgbouncer;
    revoke all on schema pgbouncer from public;
    grant usage on schema pgbouncer to ${identifier(caller)}, ${identifier(owner)};
    grant select (oid, rolname, rolpassword, rolcanlogin, rolsuper, rolreplication, rolvaliduntil) on pg_catalog.pg_authid to ${identifier(owner)};
    create or replace function pgbouncer.lookup(role_name text, out rolname name, out rolpassword text)
      returns setof record
      language sql stable security definer strict
      set search_path = pg_catalog, pg_temp
    as $$
      select a.rolname, a.rolpassword
        from pg_catalog.pg_authid a
       where a.rolname operator(pg_catalog.=) role_name::pg_catalog.name
         and a.rolname operator(pg_catalog.=) any (array[${roles.map(literal).join(", ")}]::pg_catalog.name[])
         and a.rolcanlogin and not a.rolsuper and not a.rolreplication
         and (a.rolvaliduntil is null or a.rolvaliduntil operator(pg_catalog.>) pg_catalog.now())
    $$;
    alter function pgbouncer.lookup(text) owner to ${identifier(owner)};
    revoke all on function pgbouncer.lookup(text) from public;
    grant execute on function pgbouncer.lookup(text) to ${identifier(caller)};
    comment on schema pgbouncer is 'Secrets of pooled roles for PgBouncer''s auth_query. Owned by the package, not by a migration.';
    comment on function pgbouncer.lookup(text) is 'PgBouncer''s auth_query: name and SCRAM secret of one pooled role.';
  `;
}

async function apply({
  connection,
  owner,
  caller,
  roles,
  environment,
}: DatabaseBaselineInputs): Promise<DatabaseBaselineOutputs> {
  await withConnection(connection, async (client) => {
    await client.query("begin");
    await client.query("set local lock_timeout = '5s'");
    await client.query(baselineStatements(connection.database, owner, caller, roles));
    // Of a stack from before; a new one has no such table yet, and the runner does the same when it makes it.
    await client.query(PROTECT_TABLE_SQL);
    await client.query(
      `alter database ${identifier(connection.database)} set ${ENVIRONMENT_SETTING} = ${literal(environment)}`,
    );
    await client.query("commit");
  });
  return { version: VERSION };
}

/**
 * What a database needs before anybody uses it and no provider offers: PUBLIC loses its rights, and PgBouncer gets its
 * `auth_query` function `pgbouncer.lookup(text)`. The application may not write what is applied.
 */
export const databaseBaseline: ResourceType<DatabaseBaselineInputs, DatabaseBaselineOutputs> = {
  diff(olds, news) {
    // A new password too: a refresh logs in with what the state has.
    const changed = changedProperties(olds, news, news.connection === UNKNOWN ? ["connection"] : []);
    return { changed: olds.version === VERSION ? changed : [...changed, "version"] };
  },
  create: async (inputs) => ({ id: inputs.connection.database, outputs: await apply(inputs) }),
  async read(_id, state) {
    const { rows } = await withConnection(state.connection, (client) =>
      client.query("select to_regprocedure('pgbouncer.lookup(text)') is not null as present"),
    );
    return rows[0].present ? state : undefined;
  },
  update: (_id, _olds, news) => apply(news),
  // Nothing to delete: the function goes with its database, and dropping it alone would only lock everybody out.
};
