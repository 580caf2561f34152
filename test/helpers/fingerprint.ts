import type { Client } from "pg";

/** What no application role may change. Each part becomes one hash, so that a difference names the part. */
const PARTS: Readonly<Record<string, string>> = {
  roles: `select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil
          from pg_authid where rolname ~ '^(ai_workflow_owner|app_|pgbouncer|postgres|planted)'`,
  memberships: `select roleid::regrole, member::regrole, admin_option from pg_auth_members where member::regrole::text ~ '^"?(ai_workflow_owner|app_|pgbouncer|planted)'`,
  settings: `select setrole::regrole, setconfig from pg_db_role_setting
             where setdatabase = (select oid from pg_database where datname = current_database())
                or setdatabase = 0 and setrole in (0, 'ai_workflow_owner'::regrole)`,
  databases:
    "select datname, datdba, datacl, datistemplate from pg_database where datname in (current_database(), 'template1', 'planted')",
  schemas: "select nspname, nspowner, nspacl from pg_namespace where nspname !~ '^pg_(toast_)?temp_'",
  relations: `select oid, relname, relnamespace, relowner, relacl, relkind, reloptions, relhasrules, relhastriggers, relrowsecurity, relfilenode
              from pg_class where relnamespace <> 'pg_catalog'::regnamespace`,
  columns:
    "select attrelid, attname, atttypid, attacl from pg_attribute join pg_class on pg_class.oid = attrelid where attnum > 0 and relnamespace <> 'pg_toast'::regnamespace",
  functions: "select oid, proname, proowner, proacl, prosecdef, proconfig, prosrc from pg_proc",
  triggers: "select oid, tgrelid, tgname, tgenabled from pg_trigger",
  defaults: "select defaclrole, defaclnamespace, defaclobjtype, defaclacl from pg_default_acl",
  objects: `select (select count(*) from pg_type), (select count(*) from pg_cast), (select count(*) from pg_operator),
              (select count(*) from pg_collation), (select count(*) from pg_ts_config), (select count(*) from pg_rewrite),
              (select count(*) from pg_policy), (select count(*) from pg_extension), (select count(*) from pg_event_trigger),
              (select count(*) from pg_publication), (select count(*) from pg_foreign_server), (select count(*) from pg_statistic_ext),
              (select count(*) from pg_description), (select count(*) from pg_largeobject_metadata)`,
  shared: `select (select count(*) from pg_shdescription), (select count(*) from pg_subscription), (select count(*) from pg_prepared_xacts where database = current_database()),
             (select count(*) from pg_replication_slots where slot_name = 'planted')`,
  history: "select * from public.pgmigrations",
  numbers: "select last_value, is_called from public.pgmigrations_id_seq",
  users: "select to_jsonb(users) from public.users",
  policies:
    "select to_jsonb(policy) - 'last_run_at' from public.data_retention_policies as policy where is_active and table_name not in ('tasks', 'planted')",
  approvals: "select * from maintenance.retention_approvals",
  key: "select * from maintenance.identity_key",
  trail: "select * from audit.audit_log where security_context ->> 'origin' is distinct from 'application'",
  views: "select user_id, documents from public.user_dashboard_summary",
};

/** The state of everything that an attacker's statement must not change. The client has to be a superuser. */
export async function fingerprint(superuser: Client): Promise<Record<string, string>> {
  const hashes = Object.entries(PARTS).map(
    ([part, sql]) =>
      `'${part}', (select md5(coalesce(string_agg(line, e'\\n' order by line), '')) from (select md5(row::text) as line from (${sql}) as row) as lines)`,
  );
  const { rows } = await superuser.query<{ found: Record<string, string> }>(
    `select json_build_object(${hashes.join(", ")}) as found`,
  );
  return rows[0]?.found ?? {};
}
