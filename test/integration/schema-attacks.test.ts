import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createOutput } from "../../base/output.ts";
import { ROLES } from "../../database/access/roles.ts";
import { defaultPrivileges } from "../../infra/provider/resources/database-baseline.ts";
import { fillTables } from "../helpers/fill-tables.ts";
import { fingerprint } from "../helpers/fingerprint.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

// What a role tries by SQL alone; what it tries by certificates, the pooler and the network is in attacks.test.ts.
type Attacker = "app_user" | "app_readonly" | "app_monitor";
/** What is tried, how, and how each statement has to end: code and message, or `done` where it may run without an effect. */
type Try = readonly [what: string, statements: string | readonly string[], ends: RegExp];

const DENIED = /^42501: /;
const NOT_OWNER = /^42501: must be owner of /;
const DONE = /^done$/;

let database: SchemaDatabase;
let owner: Client;
let superuser: Client;
let clients: Record<Attacker, Client>;

beforeAll(async () => {
  database = await createSchemaDatabase("attacks");
  owner = await database.connect("ai_workflow_owner");
  superuser = await database.connect("postgres");
  clients = {
    app_user: await database.connect("app_user"),
    app_readonly: await database.connect("app_readonly"),
    app_monitor: await database.connect("app_monitor"),
  };
  await fillTables(owner, 2);
});
afterAll(async () => {
  await database?.close();
});

/** Runs statements one by one, as somebody who doesn't give up, and says how each ended. */
async function endsOf(client: Client, statements: string | readonly string[]): Promise<string[]> {
  const ends: string[] = [];
  for (const sql of [statements].flat()) {
    ends.push(
      await client.query(sql).then(
        () => "done",
        (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
      ),
    );
  }
  await client.query("rollback");
  return ends;
}

function holds(role: Attacker, tries: readonly Try[]): void {
  it.each(tries)("%s", async (_what, statements, ends) => {
    const before = await fingerprint(superuser);
    const found = await endsOf(clients[role], statements);
    expect(found.at(-1)).toMatch(ends);
    expect(await fingerprint(superuser)).toEqual(before);
  });
}

async function valuesOf(client: Client, sql: string, values: unknown[] = []): Promise<unknown[]> {
  return (await client.query({ text: sql, values, rowMode: "array" })).rows.flat();
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

describe("an approval", () => {
  const propose = async (conditions: unknown): Promise<string> => {
    const [id] = await valuesOf(
      clients.app_user,
      `insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
       values ('tasks', 4000, 'DELETE', $1) returning id`,
      [JSON.stringify(conditions)],
    );
    return String(id);
  };
  const stateOf = (id: string) =>
    valuesOf(owner, "select state from maintenance.retention_status where policy_id = $1", [id]);
  const approve = (id: string) => owner.query("select maintenance.approve_retention($1)", [id]);
  afterEach(async () => {
    await owner.query("delete from public.data_retention_policies where table_name in ('tasks', 'documents')");
  });

  it("goes by a digest of which nobody makes two alike: 160 bits", async () => {
    const id = await propose({ column: "created_at", reason: "harmless" });
    const [digest] = await valuesOf(
      owner,
      `select maintenance.retention_digest(table_name, retention_period_days, policy_type, conditions)
       from public.data_retention_policies where id = $1`,
      [id],
    );
    expect(digest).toMatch(/^[0-9a-f]{40}$/);
  });

  it.each([
    [
      "ON CONFLICT",
      "insert into public.data_retention_policies (id, table_name, retention_period_days, policy_type) values ($1, 'documents', 1, 'DELETE') on conflict (id) do update set retention_period_days = 1",
    ],
    [
      "a type that only looks alike",
      `update public.data_retention_policies set conditions = '{"column": "created_at", "match": {"title": "true"}}' where id = $1`,
    ],
    [
      "a longer restriction that means less",
      `update public.data_retention_policies set conditions = '{"column": "created_at", "match": null}' where id = $1`,
    ],
    [
      "another date",
      `update public.data_retention_policies set conditions = '{"column": "updated_at", "match": {"title": "x"}}' where id = $1`,
    ],
    ["another table", "update public.data_retention_policies set table_name = 'documents' where id = $1"],
  ])("does not follow the row through %s", async (_what, sql) => {
    const id = await propose({ column: "created_at", match: { title: "x" } });
    await approve(id);
    expect(await stateOf(id)).toEqual(["approved"]);
    await clients.app_user.query(sql, [id]);
    expect(await stateOf(id)).toEqual(["changed"]);
  });

  it("does not go over to another row that takes its key", async () => {
    const id = await propose({ column: "created_at", match: { title: "x" } });
    await approve(id);
    const other = await propose({ column: "created_at" });
    await clients.app_user.query("delete from public.data_retention_policies where id = $1", [id]);
    await clients.app_user.query("update public.data_retention_policies set id = $1 where id = $2", [id, other]);
    expect(await stateOf(id)).toEqual(["changed"]);
  });

  it("is not brought about by an entry in the log of retention, nor by dates of the row", async () => {
    const id = await propose({ column: "created_at" });
    await clients.app_user.query(
      `insert into audit.data_retention_logs (policy_id, table_name, retention_action, records_affected, criteria_applied, scheduled_at, execution_duration_seconds, execution_status, compliance_reason)
       values ($1, 'tasks', 'DELETE', 0, '{}', now(), 0, 'SUCCESS', 'planted')`,
      [id],
    );
    await clients.app_user.query(
      "update public.data_retention_policies set created_at = '-infinity', last_run_at = 'infinity' where id = $1",
      [id],
    );
    expect(await stateOf(id)).toEqual(["proposed"]);
    await owner.query("delete from audit.data_retention_logs where policy_id = $1", [id]);
  });
});

describe("who acts", () => {
  const trail = async (): Promise<{ user_id: number | null; security_context: Record<string, unknown> } | undefined> =>
    (await owner.query("select user_id, security_context from audit.audit_log order by created_at desc, id limit 1"))
      .rows[0];
  const change = (client: Client) =>
    client.query(
      "update public.users set theme = md5(clock_timestamp()::text) where id = (select min(id) from public.users)",
    );

  it("is not planted in the role's own settings", async () => {
    for (const name of ["app.user_id", "app.identity_seal", "aiwdb.maintenance"]) {
      expect(
        await endsOf(
          clients.app_user,
          `do $$ begin execute format('alter role app_user in database %I set ${name} = 42', current_database()); end $$`,
        ),
      ).toEqual([`42501: permission denied to set parameter "${name}"`]);
    }
    const victim = await database.connect("app_user");
    await change(victim);
    await victim.end();
    const entry = await trail();
    expect(entry?.user_id).toBeNull();
    expect(entry?.security_context).not.toHaveProperty("unproven_identity");
  });

  it.each([
    "set quote_all_identifiers = on",
    "set transform_null_equals = on",
    "set standard_conforming_strings = off",
    "set array_nulls = off",
    "set datestyle = 'sql, dmy'; set timezone = 'UTC+167:59'; set intervalstyle = 'sql_standard'",
    "set search_path = ''",
    "set plpgsql.extra_errors = 'all'",
    "set default_transaction_isolation = 'serializable'",
  ])("and what was changed is told under %s as without", async (setting) => {
    const client = await database.connect("app_user");
    await client.query(setting);
    await client.query("begin");
    await client.query("select audit.act_as(7, 'session', '192.0.2.7', 'browser')");
    await change(client);
    await client.query("commit");
    await client.end();
    const entry = await trail();
    expect(entry?.user_id).toBe(7);
    expect(entry?.security_context).toMatchObject({ origin: "trigger", db_role: "app_user" });
  });

  it("is not borrowed by a savepoint that is rolled back after the settings were copied", async () => {
    const client = clients.app_user;
    await client.query("begin");
    await client.query("savepoint before; select audit.act_as(4242)");
    const [seal] = await valuesOf(client, "select current_setting('app.identity_seal')");
    await client.query("rollback to savepoint before");
    await client.query("select audit.act_as(7)");
    await client.query("select set_config('app.user_id', '4242', true)");
    await change(client);
    await client.query("commit");
    expect((await trail())?.user_id).toBeNull();
    await client.query("begin");
    await client.query("select set_config('app.user_id', '4242', true), set_config('app.identity_seal', $1, true)", [
      seal,
    ]);
    await change(client);
    await client.query("commit");
    expect((await trail())?.user_id).toBeNull();
  });
});

describe("rows that the application dates or fills itself", () => {
  it("make 24 months of the past at a time, however many they name", async () => {
    await clients.app_user.query(
      `insert into public.connection_health_metrics (recorded_at, health_status, total_requests, successful_requests, failed_requests, consecutive_failures, queue_size)
       select make_date(1970 + month / 12, 1 + month % 12, 3), 'healthy', 1, 1, 0, 0, 0 from generate_series(0, 599) as month`,
    );
    const made = () =>
      valuesOf(
        owner,
        `select starts_at::date::text from maintenance.make_partitions(0, 'public.connection_health_metrics')
         where starts_at < date_trunc('month', now(), 'UTC') order by 1`,
      );
    const [first, second] = [await made(), await made()];
    expect([first.length, second.length]).toEqual([24, 24]);
    // The latest first, so that the oldest of one call is next to the latest of the next.
    expect(String(second.at(-1)) < String(first[0])).toBe(true);
    expect(first).toContain("2019-12-01");
    await owner.query("call maintenance.run(0)");
    expect(
      await valuesOf(
        owner,
        "select count(*)::int from public.connection_health_metrics where recorded_at < '2020-01-01'",
      ),
    ).toEqual([0]);
  });

  it.each([
    ["a NUL", String.raw`{"a": "\u0000"}`],
    ["half a surrogate", String.raw`{"a": "\ud800"}`],
    ["a number beyond all types", `{"a": 1e999999}`],
    ["a depth that jsonb does not walk", `${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`],
  ])("go into an audited table, the trail, the export and the erasure with %s in JSON", async (_what, json) => {
    const [id] = await valuesOf(
      clients.app_user,
      "insert into public.users (username, email, hashed_password) values ($1::text, $1 || '@example.org', 'x') returning id",
      [`odd.${Buffer.from(json).toString("hex").slice(0, 20)}.${json.length}`],
    );
    const sessions =
      "select new_values -> 'session_metadata' as value from audit.audit_log where table_name = 'authentication_sessions' order by created_at desc limit 1";
    await clients.app_user.query(
      "insert into public.authentication_sessions (session_id, user_id, session_metadata) values ('odd', $1, $2)",
      [id, json],
    );
    const [first] = await valuesOf(owner, sessions);
    await clients.app_user.query("update public.authentication_sessions set session_metadata = $2 where user_id = $1", [
      id,
      json.replaceAll('"a"', '"b"'),
    ]);
    const [second] = await valuesOf(owner, sessions);
    expect(first).not.toBeNull();
    expect(second).not.toEqual(first);
    await owner.query("select privacy.export_user($1)", [id]);
    await owner.query("select privacy.erase_user($1)", [id]);
    expect(
      await valuesOf(owner, "select count(*)::int from public.authentication_sessions where user_id = $1", [id]),
    ).toEqual([0]);
  });

  it("stop the refresh of no view: infinite dates, dates too far apart, sums beyond the type", async () => {
    const [id] = await valuesOf(owner, "select min(id) from public.users");
    await clients.app_user.query(
      `insert into public.authentication_sessions (session_id, user_id, created_at, last_activity_at, ended_at) values
       ('i1', $1, '-infinity', now(), null), ('i2', $1, now(), now(), 'infinity'), ('i3', $1, '4713-01-01 BC', now(), '294276-12-31')`,
      [id],
    );
    await clients.app_user.query(
      `insert into audit.security_metrics (metric_name, metric_type, metric_value)
       select 'odd', 'counter', value from unnest(array[1.7e308, 1.7e308, -1.7e308, 4, 6]) as value`,
    );
    await clients.app_user.query(
      "insert into audit.security_metrics (metric_name, metric_type, metric_value) select 'many', 'counter', 9e149 * (-1) ^ n from generate_series(1, 40000) as n",
    );
    await clients.app_user.query(
      "insert into audit.security_metrics (metric_name, metric_type, metric_value) values ('none', 'counter', 'infinity'), ('none', 'counter', 'nan')",
    );
    expect(await valuesOf(owner, "select problem from maintenance.refresh_views() where problem is not null")).toEqual(
      [],
    );
    expect(
      await valuesOf(owner, "select average from public.security_metrics_summary where metric_name = 'odd'"),
    ).toEqual([5]);
  });

  it("are rewritten by no expression in a user's name, in no time to speak of", async () => {
    const [id] = await valuesOf(
      clients.app_user,
      "insert into public.users (username, email, hashed_password) values ('((a*)*)*$.9', 'a+a+a+@example.org', 'x') returning id",
    );
    const bystander = await valuesOf(
      clients.app_user,
      `insert into public.system_settings (key, value, category, data_type) values ('bystander', to_json(repeat('a', 50000) || 'b'), 'a', 'string') returning key`,
    ).catch(() => []);
    await owner.query("set statement_timeout = '2min'");
    await owner.query("select privacy.erase_user($1)", [id]);
    await owner.query("reset statement_timeout");
    if (bystander.length > 0) {
      expect(
        await valuesOf(owner, "select length(value::text) from public.system_settings where key = 'bystander'"),
      ).toEqual([50_003]);
    }
  });
});

describe("erasing a user", () => {
  it("who is named like a mail provider neither fails nor takes it out of others' addresses", async () => {
    const [id] = await valuesOf(
      clients.app_user,
      "insert into public.users (username, email, hashed_password) values ('example.com', 'trap@elsewhere.org', 'x') returning id",
    );
    const addresses = ["bystander@example.com", "bystander@mail.example.com"];
    await clients.app_user.query("insert into public.access_requests (email) select unnest($1::text[])", [addresses]);
    await clients.app_user.query(
      "insert into public.system_prompts (prompt_key, prompt_category, prompt_name, prompt_text) values ('trap', 'a', 'b', 'Ask example.com.')",
    );
    await owner.query("select privacy.erase_user($1)", [id]);
    expect(
      await valuesOf(owner, "select email from public.access_requests where email like 'bystander@%' order by 1"),
    ).toEqual(addresses);
    expect(await valuesOf(owner, "select prompt_text from public.system_prompts where prompt_key = 'trap'")).toEqual([
      "Ask erased.",
    ]);
  });

  it.each(["Mozilla/5.0", "2001:db8::17", "0f8fad5b-d9cb-469f-a165-70867728950e", "9e107d9d372bb6826bd81d3542a419d6"])(
    "who is named %s takes that out of nobody else's entries",
    async (name) => {
      const [id] = await valuesOf(
        clients.app_user,
        "insert into public.users (username, email, hashed_password) values ($1::text, 'u' || md5($1) || '@example.org', 'x') returning id",
        [name],
      );
      const [entry] = await valuesOf(
        clients.app_user,
        `insert into public.device_login_attempts (email, device_fingerprint, ip_address, user_agent, was_successful)
       values ('someone.else@example.org', $1::text, '192.0.2.1', $1 || ' (X11)', false) returning id`,
        [name],
      );
      await owner.query("select privacy.erase_user($1)", [id]);
      expect(
        await valuesOf(owner, "select device_fingerprint, user_agent from public.device_login_attempts where id = $1", [
          entry,
        ]),
      ).toEqual([name, `${name} (X11)`]);
      expect(await valuesOf(owner, "select username from public.users where id = $1", [id])).not.toEqual([name]);
    },
  );
});

describe("locks of the application's", () => {
  it("on the policies stop the retention, which says so, and not the views", async () => {
    await owner.query("delete from maintenance.view_refreshes");
    await clients.app_user.query("begin; lock table public.data_retention_policies in access exclusive mode");
    await expect(owner.query("call maintenance.run(0)")).rejects.toThrow(
      /^Retention was not applied, as somebody has locked/,
    );
    await clients.app_user.query("rollback");
    expect(await valuesOf(owner, "select count(*)::int from maintenance.view_refreshes")).toEqual([5]);
  });
});

describe("what the application wrote, on a terminal,", () => {
  let printed = "";
  beforeEach(() => {
    printed = "";
    const take = (text: string | Uint8Array): boolean => {
      printed += String(text);
      return true;
    };
    vi.spyOn(process.stdout, "write").mockImplementation(take);
    vi.spyOn(process.stderr, "write").mockImplementation(take);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const odd = "a\u001B[2Jb\u009B2Jc\u202Ed\u2066e\u0007";

  it("is shown and not obeyed, by whatever it is printed", () => {
    const [people, machines] = [createOutput({ json: false }), createOutput({ json: true })];
    people.text(odd);
    people.warn(odd);
    people.progress(odd);
    people.error(new Error(odd));
    machines.json({ odd });
    expect(printed.replaceAll(/\u001B\[\d+m/g, "")).not.toMatch(/[\u001B\u0007\u0080-\u009F]|\p{Bidi_Control}/u);
  });

  it("is the same value for a program", () => {
    createOutput({ json: true }).json({ odd });
    expect(JSON.parse(printed)).toEqual({ odd });
  });
});
