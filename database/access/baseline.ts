import { identifier, literal } from "../quote.ts";
import { PUBLIC_FUNCTION_STATEMENTS } from "./public-functions.ts";
import { functionDefaults } from "./rights.ts";
import { ROLES } from "./roles.ts";

/**
 * SQL that takes PUBLIC's rights away, which every role has, and makes the lookup function with the few rights it
 * needs. The function's owner can read seven columns of pg_authid and nothing else. The function tells the secrets of
 * the pooled roles only. It never tells those of a superuser, of a replication role, or of a role past its VALID UNTIL
 * (CVE-2025-2291). The search_path is fixed, the caller's temporary schema comes last in it, and every name is
 * qualified (CVE-2025-12819).
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
