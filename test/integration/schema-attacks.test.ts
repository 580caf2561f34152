import { describe, expect, it } from "vitest";
import { ROLES } from "../../database/access/roles.ts";
import { defaultPrivileges } from "../../database/access/rights.ts";
import { attackDatabase, clients, endsOf, owner, superuser, valuesOf, type Attacker } from "../helpers/attackers.ts";
import { fingerprint } from "../helpers/fingerprint.ts";

// What a role tries by SQL alone; what it tries by certificates, the pooler and the network is in attacks.test.ts.
/**
 * What is tried, how, and how each statement has to end: code and message, or `done` where it may run without an
 * effect.
 */
type Try = readonly [what: string, statements: string | readonly string[], ends: RegExp];

const DENIED = /^42501: /;
const NOT_OWNER = /^42501: must be owner of /;
const DONE = /^done$/;

attackDatabase();

function holds(role: Attacker, tries: readonly Try[]): void {
  it.each(tries)("%s", async (_what, statements, ends) => {
    const before = await fingerprint(superuser);
    const found = await endsOf(clients[role], statements);
    expect(found.at(-1)).toMatch(ends);
    expect(await fingerprint(superuser)).toEqual(before);
  });
}

/** What any role may try. */
const BY_ANYBODY: readonly Try[] = [
  ["make a table in public", "create table public.planted (i integer)", DENIED],
  ["make a table where partitions are", "create table partitions.audit_log_y2030m01 (i integer)", DENIED],
  ["make a schema ahead in the owner's path", "create schema ai_workflow_owner", DENIED],
  ["make a temporary table", "create temporary table planted (i integer)", DENIED],
  ["make a temporary function", "create function pg_temp.f() returns integer language sql as 'select 1'", DENIED],
  ["make a domain that shadows a type", "create domain pg_temp.text as pg_catalog.text", DENIED],
  ["make a type", "create type public.planted as (i integer)", DENIED],
  ["make a range type", "create type public.planted as range (subtype = integer)", DENIED],
  ["make a sequence", "create sequence public.planted", DENIED],
  ["make a collation", 'create collation public.planted from "C"', DENIED],
  ["make an aggregate", "create aggregate public.planted (integer) (sfunc = int4pl, stype = integer)", DENIED],
  ["make an operator", "create operator public.=== (leftarg = text, rightarg = text, function = texteq)", DENIED],
  ["make a cast that others' statements use", "create cast (text as integer) with inout as implicit", NOT_OWNER],
  ["make a text search configuration", "create text search configuration public.planted (copy = english)", DENIED],
  ["make statistics", "create statistics public.planted on id, email from public.users", DENIED],
  ["make an extension", "create extension hstore", DENIED],
  ["make a foreign server", "create server planted foreign data wrapper nothing", /^42704: /],
  ["publish every table", "create publication planted for all tables", DENIED],
  ["subscribe to another server", "create subscription planted connection 'host=192.0.2.1' publication p", DENIED],
  [
    "make an event trigger",
    "create event trigger planted on ddl_command_start execute function audit.refuse_date()",
    DENIED,
  ],
  [
    "hang a trigger on a table",
    "create trigger planted before insert on public.users execute function public.set_updated_at()",
    DENIED,
  ],
  ["rewrite inserts by a rule", "create rule planted as on insert to public.users do instead nothing", NOT_OWNER],
  ["switch the trail off", "alter table public.users disable trigger all", NOT_OWNER],
  ["drop a trigger of the trail", "drop trigger audit_log_stamp on audit.audit_log", /^42501: /],
  [
    "take the safe path from a function of the owner's",
    "alter function audit.record_change() reset search_path",
    /^42501: (must be owner of|permission denied for schema) /,
  ],
  [
    "replace a function of the owner's",
    "create or replace function audit.mask_secrets(jsonb) returns jsonb language sql return $1",
    DENIED,
  ],
  ["leave a comment for the next migration", "comment on table public.pgmigrations is 'planted'", NOT_OWNER],
  ["comment on its role", "comment on role app_user is 'planted'", DENIED],
  ["take a table over", "alter table public.users owner to current_user", NOT_OWNER],
  ["drop what the owner has", "drop owned by ai_workflow_owner", DENIED],
  ["give what it has to the owner", "reassign owned by current_user to ai_workflow_owner", DENIED],
  [
    "change what the owner's tables give",
    "alter default privileges for role ai_workflow_owner grant all on tables to public",
    DENIED,
  ],
  ["pass a right on", "grant all on public.users to app_monitor, app_readonly", /^(done$|42501: )/],
  ["pass itself on", "grant app_user to app_readonly", DENIED],
  ["join the owner", "grant ai_workflow_owner to current_user", DENIED],
  ["join a role that reads everything", "grant pg_read_all_data to current_user", DENIED],
  ["become the owner", "set role ai_workflow_owner", DENIED],
  ["become the superuser", "set session authorization postgres", DENIED],
  ["be a superuser", "alter role current_user superuser", DENIED],
  ["make roles", "create role planted login superuser", DENIED],
  ["make a database", "create database planted", DENIED],
  ["copy a database away by its name", "alter database template1 is_template false", NOT_OWNER],
  ["give the owner a path of its own", "alter role ai_workflow_owner set search_path = pg_temp", DENIED],
  ["give every role a path", "alter role all set search_path = pg_temp", DENIED],
  ["lengthen its own password's life", "alter role current_user valid until 'infinity'", DENIED],
  ["load a library at each login", "alter role current_user set session_preload_libraries = 'auto_explain'", DENIED],
  ["keep itself out of the log", "set log_statement = 'none'", DENIED],
  ["keep its errors out of the log", "set log_min_error_statement = 'panic'", DENIED],
  ["write rows past the triggers", "set session_replication_role = 'replica'", DENIED],
  ["write to the catalogue", "update pg_catalog.pg_proc set prosecdef = true", DENIED],
  ["allow writing to the catalogue", "set allow_system_table_mods = on", DENIED],
  ["change the server", "alter system set archive_command = 'id'", DENIED],
  ["reload the server", "select pg_reload_conf()", DENIED],
  ["run a program", "copy (select 1) to program 'id'", DENIED],
  ["read a file by COPY", "copy public.users from '/etc/passwd'", DENIED],
  ["write a file by COPY", "copy (select 1) to '/tmp/planted'", DENIED],
  ["read a file by a function", "select pg_read_file('postgresql.conf')", DENIED],
  ["list files", "select pg_ls_dir('.')", DENIED],
  ["read a file as a large object", "select lo_import('/etc/passwd')", DENIED],
  [
    "keep data in its own settings",
    "do $$ begin execute format('alter role %I in database %I set kept.value = 1', current_user, current_database()); end $$",
    DENIED,
  ],
  ["load a library", "load 'auto_explain'", DENIED],
  ["write a function in C", "create function public.planted() returns integer language c as '/tmp/x', 'x'", DENIED],
  ["read the roles' secrets", "select rolpassword from pg_catalog.pg_authid", DENIED],
  ["read them by XML", "select query_to_xml('select * from pg_authid', true, false, '')", DENIED],
  ["read them by text search", "select ts_stat('select rolpassword::tsvector from pg_authid')", DENIED],
  ["ask the pooler's lookup", "select pgbouncer.lookup('postgres')", DENIED],
  ["read who may log in from where", "select * from pg_hba_file_rules", DENIED],
  ["read samples of every column", "select * from pg_catalog.pg_statistic", DENIED],
  ["read large objects by their pages", "select * from pg_catalog.pg_largeobject", DENIED],
  ["read the key of the identities", "select key from maintenance.identity_key", DENIED],
  ["make a seal", "select audit.identity_seal('1', '', '', '')", DENIED],
  ["call a trigger's function by hand", "select audit.record_change()", DENIED],
  ["run the maintenance", "call maintenance.run()", DENIED],
  ["run the retention", "call maintenance.apply_retention()", DENIED],
  ["drop months", "select maintenance.drop_partitions('audit.audit_log', now())", DENIED],
  ["erase a user", "select privacy.erase_user(1)", DENIED],
  ["read whom erasure looks for", "select * from privacy.user_data", DENIED],
  ["approve a policy", "select maintenance.approve_retention(gen_random_uuid())", DENIED],
  [
    "write an approval",
    "insert into maintenance.retention_approvals (policy_id, table_name, retention_period_days, policy_type) values (gen_random_uuid(), 'tasks', 1, 'DELETE')",
    DENIED,
  ],
  ["empty the trail", "truncate audit.audit_log", DENIED],
  ["delete from the trail", "delete from audit.audit_log", DENIED],
  ["rewrite the trail", "update audit.audit_log set user_id = 1", DENIED],
  ["rewrite the trail by its view", "update public.audit_log set user_id = 1", DENIED],
  [
    "rewrite the trail by MERGE",
    "merge into audit.audit_log as entry using public.users on users.id = entry.user_id when matched then delete",
    DENIED,
  ],
  ["keep the trail's rows locked", ["begin", "select from audit.audit_log for update"], DENIED],
  ["keep the whole trail locked", ["begin", "lock table audit.audit_log in access exclusive mode"], DENIED],
  ["keep maintenance from its turn", ["begin", "lock table maintenance.turns in row share mode"], DENIED],
  ["keep the history of migrations locked", ["begin", "lock table public.pgmigrations in row exclusive mode"], DENIED],
  ["use up the numbers of the history", "select nextval('public.pgmigrations_id_seq')", DENIED],
  ["turn the users' numbers back", "select setval('public.users_id_seq', 1)", DENIED],
  ["refresh a view", "refresh materialized view public.user_dashboard_summary", NOT_OWNER],
  ["write into a view's store", "insert into public.user_dashboard_summary values (1)", /^42(501|809): /],
  ["rebuild indexes under a lock", "reindex table public.users", NOT_OWNER],
  ["rewrite a table under a lock", "vacuum full public.users", DONE],
  ["write a checkpoint", "checkpoint", DENIED],
  ["forget the statistics", "select pg_stat_reset()", DENIED],
  [
    "end others' sessions",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ai_workflow_owner'",
    DENIED,
  ],
  ["hold back the WAL by a slot", "select pg_create_physical_replication_slot('planted', true)", DENIED],
  ["leave a transaction open beyond its session", ["begin", "select", "prepare transaction 'planted'"], /^55000: /],
  [
    "take another's snapshot",
    ["begin isolation level repeatable read", "set transaction snapshot '00000003-0000001B-1'"],
    /^(22023|42704): /,
  ],
];

const APPLICATIONS: readonly Try[] = [
  [
    "add an entry to the trail's past by ON CONFLICT",
    "insert into audit.audit_log (table_name, operation) values ('users', 'DELETE') on conflict do nothing; rollback",
    DONE,
  ],
  [
    "overwrite an entry by ON CONFLICT",
    "insert into audit.audit_log (id, created_at, table_name, operation) select id, created_at, 'planted', 'DELETE' from audit.audit_log limit 1 on conflict (id, created_at) do update set table_name = 'planted'",
    DENIED,
  ],
  ["empty a table of its own rights", "truncate public.tasks", DENIED],
  ["hide a change as the maintenance's", "set aiwdb.maintenance = 'move'", DONE],
  [
    "write a policy on the trail",
    "insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions) values ('audit_log', 1, 'DELETE', '{\"column\": \"created_at\"}')",
    /^23514: /,
  ],
  [
    "write a policy on approvals",
    "insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions) values ('retention_approvals', 1, 'DELETE', '{\"column\": \"approved_at\"}')",
    /^23514: /,
  ],
  [
    "choose rows by a secret",
    'insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions) values (\'secure_token_storage\', 1, \'DELETE\', \'{"column": "created_at", "match": {"encrypted_value": "a"}}\')',
    /^23514: /,
  ],
  [
    "put SQL into a column's name",
    'insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions) values (\'tasks\', 1, \'DELETE\', \'{"column": "created_at", "match": {"title = title or true; --": "a"}}\') returning 1 / 0',
    /^22012: /,
  ],
  [
    "move an approved policy's key to a foreign row",
    "update public.data_retention_policies set id = (select id from public.data_retention_policies order by id limit 1) where table_name = 'tasks' or id = (select id from public.data_retention_policies order by id desc limit 1)",
    /^23505: /,
  ],
];

describe("app_user can't", () => {
  holds("app_user", [...BY_ANYBODY, ...APPLICATIONS]);
});

it.each(["app_user", "app_readonly", "app_monitor"] as const)("%s reads no file as an XML entity", async (role) => {
  const document = `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>`;
  const found = await valuesOf(
    clients[role],
    `select array_to_string(xpath('//text()', xmlparse(document '${document}')), '')`,
  );
  expect(found.join("")).not.toContain("root:");
});

describe("app_readonly can't", () => {
  holds("app_readonly", [
    ...BY_ANYBODY,
    ["write a row", "insert into public.tasks default values", DENIED],
    ["write a policy", "insert into public.data_retention_policies default values", DENIED],
    ["add an entry to a log", "insert into public.two_factor_audit_log default values", DENIED],
    ["write by a view", "update public.agent_configuration set id = id", DENIED],
    ["say who acts", "select audit.act_as(1)", DENIED],
    ["read a hash", "select hashed_password from public.users", DENIED],
    ["read it by a whole row", "select users from public.users", DENIED],
    ["read it by XML", "select table_to_xml('public.users', true, false, '')", DENIED],
    ["read it by COPY", "copy public.users to stdout", DENIED],
    ["read it by a condition", "select from public.users where hashed_password like '$2b%'", DENIED],
    [
      "read it by a key's neighbour",
      "select refresh_token from public.user_oauth_tokens order by refresh_token",
      DENIED,
    ],
    ["guess it by an explained plan", "explain (analyze) select from public.users where tfa_secret > 'm'", DENIED],
    ["store a large object", "select lo_create(0)", DENIED],
    ["store a large object's rest", "select lo_put(1, 0, 'kept')", DENIED],
    ["signal by an advisory lock", "select pg_advisory_lock(1)", DENIED],
    ["mark the WAL", "select pg_logical_emit_message(false, 'x', 'y')", DENIED],
    ["see others' statements", "select query from public.pg_stat_statements", DENIED],
  ]);

  it("sees no statement of another role in the sessions", async () => {
    expect(
      await valuesOf(
        clients.app_readonly,
        "select query from pg_stat_activity where usename <> current_user and query not in ('', '<insufficient privilege>')",
      ),
    ).toEqual([]);
  });
});

describe("app_monitor can't", () => {
  holds("app_monitor", [
    ...BY_ANYBODY,
    ["read a row", "select from public.users", DENIED],
    ["read a log", "select from audit.audit_log", DENIED],
    ["read a view's rows", "select from public.user_dashboard_summary", DENIED],
    ["read proposals", "select from public.data_retention_policies", DENIED],
    ["write a row", "insert into public.tasks default values", DENIED],
    ["say who acts", "select audit.act_as(1)", DENIED],
    ["forget the statements", "select public.pg_stat_statements_reset()", DENIED],
    ["stop the statements' record", "set pg_stat_statements.track = 'none'", DENIED],
    ["fill the log with memory contexts", "select pg_log_backend_memory_contexts(pg_backend_pid())", DENIED],
    ["cancel others' statements", "select pg_cancel_backend(pid) from pg_stat_activity", DENIED],
    ["store a large object", "select lo_from_bytea(0, 'kept')", DENIED],
    ["take an advisory lock", "select pg_try_advisory_lock(1)", DENIED],
    ["use its membership to read tables", ["set role pg_read_all_stats", "select from public.users"], DENIED],
    ["pass its membership on", "grant pg_monitor to app_readonly", DENIED],
  ]);

  it("finds no samples of rows in the statistics", async () => {
    await owner.query("analyze public.users");
    expect(await valuesOf(clients.app_monitor, "select attname from pg_stats where schemaname = 'public'")).toEqual([]);
  });
});

describe("whoever takes itself out of everybody's rights", () => {
  it.each(["app_user", "app_readonly", "app_monitor"] as const)("keeps %s no right for long", async (role) => {
    const rights = async () =>
      valuesOf(
        superuser,
        `select format('%s %s', oid::regclass, relacl) from pg_class
         where relnamespace in ('public'::regnamespace, 'audit'::regnamespace, 'maintenance'::regnamespace) order by 1`,
      );
    const before = await rights();
    // Where a role has columns of a table only, the whole statement is refused.
    await endsOf(clients[role], `drop owned by ${role}`);
    expect(await rights()).toEqual(before);
    // Only what the owner makes later would have given nothing; `up` puts this back first (migration-resource.test.ts).
    await owner.query(defaultPrivileges(ROLES.owner));
    await owner.query("create table public.later (i integer)");
    expect(await valuesOf(superuser, `select has_table_privilege($1, 'public.later', 'select')`, [role])).toEqual([
      role !== "app_monitor",
    ]);
    await owner.query("drop table public.later");
  });
});
