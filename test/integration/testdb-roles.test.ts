import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { readStackConfig } from "../../stack/settings-file.ts";
import { createClone } from "../../testing/pool/clones.ts";
import { createHeld, listDatabases } from "../../testing/databases/by-name.ts";
import { startLocalServer, stopLocalServer } from "../../testing/server/local.ts";
import { openRegistry, REGISTRY_DATABASE, type Registry } from "../../testing/pool/registry.ts";
import { adminConfig, SERVER_VARIABLE, type TestServer } from "../../testing/description/server.ts";
import { sweep } from "../../testing/pool/sweep.ts";
import { ensureTemplate, readSource } from "../../testing/pool/template.ts";
import { type Template } from "../../testing/pool/registry.ts";
import { closeTestDatabases, testDatabase } from "../../testing/databases/test-database.ts";
import { LIBRARY, node, ownHome } from "../helpers/testdb.ts";

const NAME = `ci-tr${process.pid}`;

let home: { remove(): void };
let server: TestServer;
let registry: Registry;
let template: Template;

/** What an operator may have set on a server before the first test: it must come back as well. */
const OPERATOR = `
  create role operator createrole valid until '2099-01-01';
  create role team;
  create role second_admin superuser;
  grant team to operator with admin true, inherit false, set false;
  set role operator; grant team to app_user with inherit true, set false; reset role;
  comment on role app_readonly is 'it''s the reader';
  alter role app_readonly set search_path = public, "Odd name", '';
  alter role app_readonly set application_name = 'a''b\\c=d';
  alter role operator set search_path = '';
  alter role app_readonly in database postgres set work_mem = '3MB';
  grant set on parameter log_min_messages to operator with grant option;
  grant create on tablespace pg_default to team`;

beforeAll(async () => {
  home = ownHome();
  process.env[SERVER_VARIABLE] = NAME;
  // Without a keeper: what happens is done by the one who takes and gives back.
  server = await startLocalServer(readStackConfig(NAME), () => {});
  await asSuperuser(OPERATOR);
  registry = await openRegistry(server);
  template = await ensureTemplate(registry, readSource(server, {}));
});

afterAll(async () => {
  await registry?.close();
  await closeTestDatabases();
  await stopLocalServer(NAME);
  home.remove();
});

async function asSuperuser<Row extends pg.QueryResultRow>(sql: string, database = "postgres"): Promise<Row[]> {
  const client = new pg.Client(adminConfig(server, database));
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** All that the server says of its roles, beside the roles that tests made. */
async function rolesOfServer(): Promise<string[]> {
  const rows = await asSuperuser<{ line: string }>(`
    with known as (select * from pg_authid where rolname !~ '^(aiwdb_|extra)'),
    lasting as (select * from pg_database where datname !~ '^aiwdb_(test|tmpl)_'),
    acls as (
      select 'database ' || datname || ' of ' || datdba::regrole as object, coalesce(datacl, acldefault('d', datdba)) as acl from lasting
      union all select 'tablespace ' || spcname || ' of ' || spcowner::regrole, coalesce(spcacl, acldefault('t', spcowner)) from pg_tablespace
      union all select 'parameter ' || parname, paracl from pg_parameter_acl)
    select concat_ws(' ', 'role', to_jsonb(known) - 'oid' - 'rolvaliduntil', coalesce(rolvaliduntil, 'infinity'), shobj_description(oid, 'pg_authid')) as line from known
    union all select concat_ws(' ', 'setting', case setrole when 0 then 'all' else setrole::regrole::text end, datname, (select array_agg(o order by o) from unnest(setconfig) as o))
      from pg_db_role_setting left join pg_database on pg_database.oid = setdatabase where setrole = 0 or setrole in (select oid from known)
    union all select concat_ws(' ', 'member', roleid::regrole, member::regrole, grantor::regrole, admin_option, inherit_option, set_option)
      from pg_auth_members where member in (select oid from known)
    union all select concat_ws(' ', object, case grantee when 0 then 'public' else grantee::regrole::text end, array_agg(privilege_type || is_grantable order by privilege_type))
      from acls cross join lateral aclexplode(acl) where not (object ~ '^parameter' and grantee = 10) group by object, grantee
    order by 1`);
  return rows.map(({ line }) => line);
}

/** As a test does: in a database of its own, as the superuser. */
async function inTest(sql: string, database?: string): Promise<void> {
  const db = await testDatabase({ role: "postgres", connect: true });
  try {
    if (database === undefined) await db.client!.query(sql);
    else await asSuperuser(sql, database);
  } finally {
    await db.drop();
  }
}

/** The application's roles come in, and may what they may. */
async function expectUsable(): Promise<void> {
  const db = await testDatabase({ connect: true });
  for (const role of ["app_user", "app_readonly", "app_monitor", "ai_workflow_owner"] as const) {
    const { rows } = await (
      await db.connect(role)
    ).query(
      "select current_user as role, pg_has_role('app_monitor', 'pg_read_all_stats', 'usage') as stats, pg_get_userbyid(datdba) as owner from pg_database where datname = current_database()",
    );
    expect(rows).toEqual([{ role, stats: true, owner: "ai_workflow_owner" }]);
  }
  expect((await db.client!.query("select count(*)::integer as count from users")).rows).toEqual([{ count: 0 }]);
  await db.drop();
}

describe("after a test", () => {
  test.each([
    ["took a membership", "revoke pg_monitor from app_monitor"],
    ["took a membership of the server's own roles", "revoke pg_read_all_stats, pg_stat_scan_tables from pg_monitor"],
    ["took a membership on which others rest", "revoke team from operator cascade"],
    ["took a membership's options", "revoke admin option for team from operator cascade"],
    ["changed a membership's options", "grant pg_monitor to app_monitor with admin true, inherit false, set false"],
    [
      "gave memberships that are passed on",
      "grant pg_read_all_data to app_user with admin option; set role app_user; grant pg_read_all_data to app_readonly",
    ],
    ["made the server's own roles members", "grant ai_workflow_owner to pg_monitor"],
    ["made everybody a superuser", "alter role app_user superuser createdb createrole replication bypassrls noinherit"],
    ["locked roles out", "alter role app_user nologin; alter role app_readonly connection limit 0"],
    ["changed passwords", "alter role app_user password 'another'; alter role app_readonly password null"],
    [
      "let passwords expire",
      "alter role app_user valid until '2001-01-01'; alter role operator valid until 'infinity'",
    ],
    ["wrote settings", "alter role app_user set work_mem = '1MB'; alter role all set statement_timeout = 1"],
    ["took settings", "alter role app_readonly reset all; alter role operator reset search_path"],
    [
      "changed settings",
      "alter role app_readonly set application_name = 'x'; alter role operator set search_path = a, b",
    ],
    [
      "wrote settings for one database",
      "alter role app_user in database ai_workflow_db set work_mem = '1MB'; alter role app_readonly in database postgres reset all",
    ],
    ["wrote settings of a lasting database", "alter database postgres set default_transaction_read_only = on"],
    ["changed comments", "comment on role app_readonly is null; comment on role app_user is 'spoiled'"],
    ["gave a role another name", "alter role app_user rename to extra_user"],
    [
      "exchanged two names",
      "alter role app_user rename to extra; alter role app_readonly rename to app_user; alter role extra rename to app_readonly",
    ],
    [
      "put another role in a role's place",
      "alter role app_monitor rename to extra_old; create role app_monitor login superuser password 'x'",
    ],
    [
      "gave rights on lasting databases",
      `grant connect, create on database postgres to app_user; grant connect on database ${REGISTRY_DATABASE} to public; alter database template1 owner to app_user`,
    ],
    [
      "took rights on lasting databases",
      "revoke all on database ai_workflow_db from ai_workflow_owner, app_user cascade",
    ],
    [
      "gave rights on settings",
      "grant set on parameter log_statement to app_user; grant alter system on parameter log_statement to public; revoke all on parameter log_min_messages from operator cascade",
    ],
    [
      "gave rights on tablespaces",
      "grant create on tablespace pg_default to app_user; revoke create on tablespace pg_default from team; alter tablespace pg_global owner to app_user",
    ],
    ["took away all that a role had", "drop owned by app_user, app_monitor, ai_workflow_owner cascade"],
    ["gave a role's property away", "reassign owned by ai_workflow_owner to app_user"],
    [
      "did much at once",
      "revoke pg_monitor from app_monitor; alter role app_monitor rename to extra_m; alter role app_readonly reset all; alter role extra_m superuser; grant extra_m to app_user; revoke team from operator cascade; alter role operator nocreaterole",
    ],
  ])("that %s the server's roles are as before", async (_what, sql) => {
    const before = await rolesOfServer();
    // Some that are ready already: what a test does to all databases must not be handed out with them.
    await Promise.all([1, 2].map(() => createClone(registry, template)));
    await inTest(sql);
    expect(await rolesOfServer()).toEqual(before);
    await expectUsable();
    await asSuperuser("drop role if exists extra, extra_user, extra_old, extra_m");
    for (const { rolname } of await asSuperuser<{ rolname: string }>(
      "select rolname from pg_roles where rolname ~ '^aiwdb_foreign'",
    ))
      await asSuperuser(`drop role ${rolname}`);
  });

  test("roles that it made stay as they are, and what it set for them", async () => {
    await inTest(
      "create role extra login connection limit 7; alter role extra set work_mem = '2MB'; grant team to extra",
    );
    await inTest("alter role app_user set work_mem = '1MB'");
    expect(
      await asSuperuser(
        "select rolconnlimit as limit, rolconfig as settings, pg_has_role('extra', 'team', 'member') as member from pg_roles where rolname = 'extra'",
      ),
    ).toEqual([{ limit: 7, settings: ["work_mem=2MB"], member: true }]);
    await asSuperuser("drop role extra");
  });

  test("the server's mark is as its operator left it", async () => {
    await asSuperuser("alter database ai_workflow_db set aiwdb.environment = 'production'");
    try {
      await registry.query("select testdb.restore_roles()");
      await expect(testDatabase()).rejects.toThrow(/marked production/);
    } finally {
      await asSuperuser("alter database ai_workflow_db set aiwdb.environment = 'test'");
    }
    await expectUsable();
  });

  test("what can not be brought back is said, keeps nobody's database, and is brought back once it can", async () => {
    const before = await rolesOfServer();
    const holder = new pg.Client(adminConfig(server, "postgres"));
    await holder.connect();
    await holder.query("alter role app_readonly createdb");
    await holder.query("begin; alter role app_readonly connection limit 1");
    const notices: (string | undefined)[] = [];
    registry.client.on("notice", ({ message }) => notices.push(message));
    await registry.query("set lock_timeout = '100ms'");
    await registry.query("select testdb.restore_roles()");
    expect(notices).toEqual([expect.stringMatching(/^aiwdb: .*can not be brought back: .*lock timeout.*testdb stop/)]);
    await holder.query("commit");
    await holder.end();
    await registry.query("select testdb.restore_roles(); set lock_timeout = '10s'");
    expect(await rolesOfServer()).toEqual(before);
  });

  test("that locked even the superuser out of what it needs, and was killed, the next one comes in and brings it back", async () => {
    const before = await rolesOfServer();
    await registry.close();
    await closeTestDatabases();
    const script = `const { testDatabase } = await import(${JSON.stringify(LIBRARY)});
      const db = await testDatabase({ role: "postgres", connect: true });
      await db.client.query(\`alter role all set default_transaction_read_only = on; alter role all set statement_timeout = 1; alter role all set search_path = nowhere;
        alter role all set idle_session_timeout = 1; alter role all set session_preload_libraries = 'nowhere'; alter role postgres set role = 'app_user'\`);
      process.kill(process.pid, "SIGKILL");`;
    expect((await node(["--input-type=module", "-e", script])).stderr).toBe("");
    registry = await openRegistry(server);
    await sweep(registry);
    expect(await rolesOfServer()).toEqual(before);
    await expectUsable();
  });

  test("a role that was dropped is made again", async () => {
    const before = await rolesOfServer();
    await registry.query("update testdb.template set used_at = now() - interval '2 hours'");
    await sweep(registry);
    const lasting = await asSuperuser<{ name: string }>("select datname as name from pg_database where datallowconn");
    for (const { name } of lasting) await asSuperuser("drop owned by app_monitor, team cascade", name);
    await asSuperuser("drop role app_monitor, team");
    await registry.query("select testdb.restore_roles()");
    expect(await rolesOfServer()).toEqual(before);
    template = await ensureTemplate(registry, readSource(server, {}));
    await closeTestDatabases();
    await expectUsable();
  });
});

describe("an owner of its own", () => {
  const held = async () => (await listDatabases(NAME)).filter(({ state }) => state !== "ready");
  const owners = () => asSuperuser("select rolname from pg_roles where starts_with(rolname, 'aiwdb_test_')");

  test("that is given to things of other databases keeps nothing from being dropped", async () => {
    const db = await testDatabase({ owner: true });
    await asSuperuser(`
      grant connect on database ai_workflow_db to ${db.name};
      grant set on parameter log_statement to ${db.name}`);
    await asSuperuser(`create database somebodys_own owner ${db.name}`);
    await db.drop();
    await sweep(registry);
    expect([await owners(), await held()]).toEqual([[], []]);
    await asSuperuser("drop database somebodys_own");
  });

  test("that can not be made leaves nothing: not the database, not the role, no claim", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-seed-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const seed = path.join(folder, "seed.sql");
    writeFileSync(seed, "create table public.first (id integer); create table public.second (id integer);");
    const { database } = await ensureTemplate(registry, readSource(server, { seed }));
    await asSuperuser(`alter database ${database} allow_connections true`);
    // The hand-over breaks off in its middle: functions have their new owner, tables have not.
    await asSuperuser(
      `create function public.refuse() returns event_trigger language plpgsql as $$ begin raise 'no table changes hands'; end $$;
       create event trigger refuse on ddl_command_start when tag in ('ALTER TABLE') execute function public.refuse()`,
      database,
    );
    await asSuperuser(`alter database ${database} allow_connections false`);
    for (const take of [
      () => testDatabase({ seed, owner: true }),
      () => testDatabase({ seed, owner: true, connect: true }),
      () => createHeld(NAME, { seed, owner: true, ttlSec: 600 }),
      () => createHeld(NAME, { seed, owner: true, pid: process.pid }),
    ]) {
      await expect(take()).rejects.toThrow("no table changes hands");
      expect([await owners(), await held()]).toEqual([[], []]);
    }
  });
});
