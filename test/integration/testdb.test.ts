import { spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import {
  createHeld,
  dropByName,
  listDatabases,
  renewByName,
  type ListedDatabase,
} from "../../testing/databases/by-name.ts";
import { SWEEP_EVERY_MS } from "../../testing/server/keeper.ts";
import { openRegistry, REGISTRY_DATABASE, type Registry } from "../../testing/pool/registry.ts";
import { takeFingerprint } from "../../testing/pool/reset.ts";
import { adminConfig, readServer, SERVER_VARIABLE, type TestServer } from "../../testing/description/server.ts";
import { serverFiles } from "../../testing/description/files.ts";
import { sweep } from "../../testing/pool/sweep.ts";
import {
  closeTestDatabases,
  testDatabase,
  type TestDatabase,
  type TestDatabaseOptions,
} from "../../testing/databases/test-database.ts";
import { readCatalogue } from "../helpers/catalogue.ts";
import { aiwdb, driverExamples, MAIN, mustSucceed, node, ownHome, program, pytest, until } from "./testdb-support.ts";

const NAME = `ci-td${process.pid}`;
const LIBRARY = path.join(import.meta.dirname, "../../testing/databases/test-database.ts");
const MIGRATIONS = path.join(import.meta.dirname, "../../migrations");

let home: { remove(): void };
let server: TestServer;
let registry: Registry;

beforeAll(async () => {
  home = ownHome();
  process.env[SERVER_VARIABLE] = NAME;
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "local"]));
  server = readServer();
  registry = await openRegistry(server);
});

afterAll(async () => {
  await registry?.close();
  await closeTestDatabases();
  mustSucceed(await aiwdb(["testdb", "stop"]));
  home.remove();
});

// What the keeper makes ready in the background is nobody's.
const held = async (): Promise<ListedDatabase[]> =>
  (await listDatabases(NAME)).filter(({ state }) => state !== "ready" && state !== "creating");
/** Nothing is held, nothing half done: what every test must leave behind. */
const nothingHeld = () => until(held, (databases) => databases.length === 0);
/** Taken for one test, which gives it back itself; a test that fails does not spoil the next one. */
const take = async (options: TestDatabaseOptions = {}): Promise<TestDatabase> => {
  const db = await testDatabase(options);
  onTestFinished(async () => {
    await db.drop();
    await dropByName(NAME, db.name); // if it was kept
  });
  return db;
};
const existing = async (): Promise<string[]> => {
  const { rows } = await registry.client.query<{ datname: string }>(
    "select datname from pg_database where starts_with(datname, 'aiwdb_test_')",
  );
  return rows.map(({ datname }) => datname);
};

const addUser = (client: pg.Client, name = "ada") =>
  client.query(
    "insert into users (username, email, hashed_password) values ($1::text, $1::text || '@example.com', 'x')",
    [name],
  );
const users = async (client: pg.Client): Promise<string[]> =>
  (await client.query<{ username: string }>("select username from users order by username")).rows.map(
    ({ username }) => username,
  );

beforeEach(nothingHeld);

describe("a test database", () => {
  test("is empty, migrated, and reached over TLS as the application's role", async () => {
    const db = await take({ connect: true });
    const { rows } = await db.client!.query(
      `select current_user as role, (select version like 'TLSv1.%' from pg_stat_ssl where pid = pg_backend_pid()) as tls,
              (select count(*)::integer from users) as users`,
    );
    expect(rows).toEqual([{ role: "app_user", tls: true, users: 0 }]);
    const owner = await db.connect("ai_workflow_owner");
    expect((await owner.query("select count(*)::integer as migrations from pgmigrations")).rows).toEqual([
      { migrations: readMigrationCount() },
    ]);
    await expect(db.client!.query("create table x ()")).rejects.toThrow(/permission denied/);
    await db.drop();
  });

  test("shares nothing with another one", async () => {
    const [one, two] = await Promise.all([take({ connect: true }), take({ connect: true })]);
    await addUser(one.client!);
    expect([await users(one.client!), await users(two.client!)]).toEqual([["ada"], []]);
    await Promise.all([one.drop(), two.drop()]);
  });

  test("is equal to one that was made without a template: objects, rights, rows", async () => {
    const db = await take({ role: "postgres", connect: true });
    const rights = await db.client!.query(
      "select datacl::text[] as acl, pg_get_userbyid(datdba) as owner from pg_database where datname = current_database()",
    );
    expect(rights.rows).toEqual([
      {
        owner: "ai_workflow_owner",
        acl: [
          "ai_workflow_owner=CTc/ai_workflow_owner",
          "app_user=c/ai_workflow_owner",
          "app_readonly=c/ai_workflow_owner",
          "app_monitor=c/ai_workflow_owner",
          "pgbouncer=c/ai_workflow_owner",
        ],
      },
    ]);
    const lookup = await db.client!.query("select count(*)::integer as count from pgbouncer.lookup('app_user')");
    expect(lookup.rows).toEqual([{ count: 1 }]);
    await db.drop();
  });

  test("refuses a certificate of another role, a wrong password and plain text", async () => {
    const db = await take();
    const foreign = { ...db.config, user: "app_readonly", password: server.roles.app_readonly.password };
    for (const config of [foreign, { ...db.config, password: "wrong" }, { ...db.config, ssl: false }]) {
      const client = new pg.Client(config);
      await expect(client.connect()).rejects.toThrow();
    }
    const { url } = db;
    expect(new URL(url).searchParams.get("sslmode")).toBe("verify-full");
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    expect((await client.query("select current_database() as name")).rows).toEqual([{ name: db.name }]);
    await client.end();
    await db.drop();
  });

  test("is dropped with the sessions somebody left open in it", async () => {
    const db = await take();
    const forgotten = new pg.Client(db.config);
    const ended = new Promise((resolve) => forgotten.on("error", resolve));
    await forgotten.connect();
    await db.drop();
    await ended;
    expect(await until(existing, (names) => !names.includes(db.name))).not.toContain(db.name);
  });

  test("given back twice is given back once", async () => {
    const db = await take();
    await Promise.all([db.drop(), db.drop(), db[Symbol.asyncDispose]()]);
    await db.drop();
    await expect(db.reset()).rejects.toThrow(/was given back/);
  });

  test("is never handed out a second time", async () => {
    const names = new Set<string>();
    for (let count = 0; count < 20; count++) {
      const db = await take({ connect: true });
      expect(await users(db.client!)).toEqual([]);
      await addUser(db.client!);
      names.add(db.name);
      await db.drop();
    }
    expect(names.size).toBe(20);
  });

  test("holds for 200 takers at once: all isolated, nothing left", async () => {
    const all = await Promise.all(Array.from({ length: 200 }, (_, index) => isolated(index)));
    expect(new Set(all).size).toBe(200);
    await nothingHeld();
    const { rows } = await registry.client.query(
      "select count(*)::integer as count from pg_roles where rolname !~ '^pg_'",
    );
    expect(rows).toEqual([{ count: 7 }]);
  });

  async function isolated(index: number): Promise<string> {
    const db = await take({ connect: true, label: `taker ${index}` });
    await addUser(db.client!, `user${index}`);
    expect(await users(db.client!)).toEqual([`user${index}`]);
    await db.drop();
    return db.name;
  }
});

function readMigrationCount(): number {
  return readdirSync(MIGRATIONS).filter((file) => file.endsWith(".up.sql")).length;
}

describe("reset", () => {
  const fingerprintOf = async (db: TestDatabase) => {
    const admin = await db.connect("postgres");
    const { xid: _, ...rest } = await takeFingerprint(admin);
    await admin.end();
    return rest;
  };

  test("leaves tables, sequences, settings, locks and prepared statements as they were", async () => {
    const db = await take({ connect: true });
    const before = await fingerprintOf(db);
    await registry.workers.query(`grant temporary on database ${db.name} to app_user`);
    await db.client!.query({ name: "mine", text: "select 1" });
    await db.client!.query("set work_mem = '1MB'; select pg_advisory_lock(7); create temporary table mine ()");
    await addUser(db.client!);
    await addUser(db.client!, "bob");
    await db.reset();
    // Temporary tables leave a schema behind, so that this one is a new copy.
    const after = await fingerprintOf(db);
    expect(after).toEqual(before);
    const { rows } = await db.client!.query(
      `select current_setting('work_mem') <> '1MB' as setting, to_regclass('mine') is null as no_table,
              (select count(*)::integer from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
              (select count(*)::integer from pg_prepared_statements) as statements`,
    );
    expect(rows).toEqual([{ setting: true, no_table: true, locks: 0, statements: 0 }]);
    expect(await users(db.client!)).toEqual([]);
    await db.drop();
  });

  test("gives app_user temporary tables where the stack's own database does", async () => {
    const db = await take({ connect: true });
    const change = (sql: string) => registry.workers.query(`${sql} app_user`);
    await change(`grant temporary on database ${server.database} to`);
    onTestFinished(async () => void (await change(`revoke temporary on database ${server.database} from`)));
    await expect(db.client!.query("create temporary table mine ()")).rejects.toMatchObject({ code: "42501" });
    await (await db.connect("ai_workflow_owner")).query("create table public.changed ()");
    await db.reset(); // makes it anew
    await db.client!.query("create temporary table mine ()");
  });

  test("makes a connection that stays forget what it had set, locked, prepared and begun", async () => {
    const db = await take({ connect: true });
    const { client } = db;
    await client!.query({ name: "mine", text: "select 1 as one" });
    await client!.query("set work_mem = '1MB'; listen mine; select pg_advisory_lock(7)");
    await client!.query("begin");
    await addUser(client!);
    await db.reset();
    expect(db.client).toBe(client);
    const { rows } = await client!.query(
      `select current_setting('work_mem') <> '1MB' as setting, pg_current_xact_id_if_assigned() is null as no_transaction,
              (select count(*)::integer from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
              (select count(*)::integer from pg_listening_channels()) as channels,
              (select count(*)::integer from pg_prepared_statements) as statements`,
    );
    expect(rows).toEqual([{ setting: true, no_transaction: true, locks: 0, channels: 0, statements: 0 }]);
    expect((await client!.query({ name: "mine", text: "select 1 as one" })).rows).toEqual([{ one: 1 }]);
    expect(await users(client!)).toEqual([]);
    await db.drop();
  });

  test("and a second life leave every object, right, row and sequence as in a new copy", async () => {
    const never = await take();
    const fresh = await contentsOf(never);
    expect(fresh.length).toBeGreaterThan(1_000);
    const used = async (db: TestDatabase) => {
      const admin = await db.connect("postgres");
      await addUser(admin);
      await admin.query(
        "insert into public.tasks (user_id, title) select id, 'a task' from public.users; select setval(pg_get_serial_sequence('public.users', 'id'), 77)",
      );
      await admin.end();
    };
    const db = await take();
    await used(db);
    expect(await contentsOf(db)).not.toEqual(fresh);
    await db.reset();
    expect(await contentsOf(db)).toEqual(fresh);
    await used(db);
    await db.drop();
    await until(held, (databases) => databases.every(({ name }) => name === never.name));
    // The emptied one is among those that are ready now.
    const again = await Promise.all(Array.from({ length: 4 }, () => take()));
    for (const each of again) expect(await contentsOf(each)).toEqual(fresh);
    await Promise.all([never, ...again].map((each) => each.drop()));
  });

  /** Objects and rights as other tests read them, rows and sequences; nothing of what a reset itself looks at. */
  async function contentsOf(db: TestDatabase): Promise<string[]> {
    const admin = await db.connect("postgres");
    const catalogue = await readCatalogue(admin as never);
    const { rows: tables } = await admin.query<{ name: string }>(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname !~ '^pg_' and schemaname <> 'information_schema' order by 1",
    );
    const rowsOf = tables.map(
      ({ name }) =>
        `select '${name}' || coalesce(string_agg(row::text, ';' order by row::text), '') as line from only ${name} as row`,
    );
    const { rows } = await admin.query<{ line: string }>(
      `${rowsOf.join(" union all ")} union all select sequencename || coalesce(last_value, 0) from pg_sequences order by 1`,
    );
    await admin.end();
    return [...catalogue, ...rows.map(({ line }) => line)];
  }

  test("keeps the connection where only rows changed, and numbers begin where they began", async () => {
    const db = await take({ connect: true });
    const { client } = db;
    for (let turn = 0; turn < 3; turn++) {
      await client!.query({
        name: "insert",
        text: "insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')",
      });
      expect((await client!.query("select id from users")).rows).toEqual([{ id: 1 }]);
      await db.reset();
      expect(db.client).toBe(client);
      expect(await users(client!)).toEqual([]);
    }
    await db.drop();
  });

  test.each([
    ["a new table", "create table public.extra ()"],
    ["a dropped index", "drop index if exists public.ix_users_username"],
    ["another right", "grant select on public.users to app_monitor"],
    ["a changed row of the template", "update public.pgmigrations set run_on = run_on where id = 1"],
    ["a deleted row of the template", "delete from public.data_retention_policies"],
    [
      "a setting of the database",
      "do $$ begin execute format('alter database %I set work_mem = ''1MB''', current_database()); end $$",
    ],
  ])("makes the database anew after %s", async (_what, sql) => {
    const db = await take();
    const before = await fingerprintOf(db);
    const owner = await db.connect("postgres");
    await owner.query(sql);
    expect(await fingerprintOf(db)).not.toEqual(before);
    await db.reset();
    expect(await fingerprintOf(db)).toEqual(before);
    await db.drop();
  });
});

describe("an owner of its own", () => {
  const asked = async (config: pg.ClientConfig) => {
    const client = new pg.Client(config);
    await client.connect();
    return client.end();
  };

  test("owns the database and all that is in it, makes objects there, and connects nowhere else", async () => {
    const [db, other, third] = await Promise.all([take({ owner: true, connect: true }), take(), take({ owner: true })]);
    const { rows } = await db.client!.query(
      `select current_user = current_database() as own_name,
              (select rolsuper or rolcreatedb or rolcreaterole or rolbypassrls from pg_roles where rolname = current_user) as more,
              (select count(*)::integer from pg_class join pg_namespace on pg_namespace.oid = relnamespace
                where relkind in ('r', 'p', 'v', 'm', 'S') and nspname !~ '^pg_' and nspname <> 'information_schema'
                  and relowner <> current_user::regrole and relname !~ '^pg_stat_statements') as foreign_objects,
              (select count(*)::integer from pg_proc where proowner = 'ai_workflow_owner'::regrole) as foreign_functions`,
    );
    expect(rows).toEqual([{ own_name: true, more: false, foreign_objects: 0, foreign_functions: 0 }]);
    await db.client!.query(
      "alter table users add column extra integer; create table mine (id integer); insert into mine values (1)",
    );
    const app = await db.connect("app_user");
    expect((await app.query("select * from mine")).rows).toEqual([{ id: 1 }]);
    for (const database of [other.name, third.name, server.database, "postgres", "template1", REGISTRY_DATABASE]) {
      await expect(asked({ ...db.config, database })).rejects.toThrow(/pg_hba.conf|permission denied/);
    }
    await expect(asked({ ...db.config, password: server.roles.app_user.password })).rejects.toThrow(/password/);
    await expect(asked({ ...db.config, ssl: false })).rejects.toThrow(/pg_hba.conf/);
    await asked({ connectionString: db.url });
    // Nothing of the others' went along.
    const owners = await registry.client.query<{ owner: string }>(
      "select pg_get_userbyid(datdba) as owner from pg_database where datname = any ($1)",
      [[other.name, server.database]],
    );
    expect(owners.rows.map(({ owner }) => owner)).toEqual(["ai_workflow_owner", "ai_workflow_owner"]);
    await db.reset();
    await expect(db.client!.query("select * from mine")).rejects.toThrow(/does not exist/);
    await db.client!.query("create table mine ()");
    await Promise.all([db.drop(), other.drop(), third.drop()]);
    await until(ownerRoles, (roles) => roles.length === 0);
  });

  test("is asked for by command line, and goes with a killed process", async () => {
    const script = `const { testDatabase } = await import(${JSON.stringify(LIBRARY)}); await testDatabase({ owner: true }); process.stdout.write("taken"); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const { url, name } = JSON.parse(mustSucceed(await aiwdb(["testdb", "create", "--owner", "--json"])).stdout) as {
      url: string;
      name: string;
    };
    await asked({ connectionString: url });
    expect(await ownerRoles()).toHaveLength(2);
    child.kill("SIGKILL");
    mustSucceed(await aiwdb(["testdb", "drop", name]));
    await until(ownerRoles, (roles) => roles.length === 0);
    const refused = await aiwdb(["testdb", "create", "--owner", "--role", "app_readonly"]);
    expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining("owner of its own")]);
  });

  async function ownerRoles(): Promise<string[]> {
    const { rows } = await registry.client.query<{ rolname: string }>(
      "select rolname from pg_roles where starts_with(rolname, 'aiwdb_test_')",
    );
    return rows.map(({ rolname }) => rolname);
  }
});

describe("roles of the whole server", () => {
  test("that a test changed are as before when it has given its database back, and it is told", async () => {
    const script = `const { testDatabase } = await import(${JSON.stringify(LIBRARY)});
      const db = await testDatabase({ role: "postgres", connect: true });
      await db.client.query("alter role app_user set work_mem = '1MB'; alter role app_user password 'another' connection limit 1; grant ai_workflow_owner to app_readonly; alter role all set statement_timeout = 1");
      await db.drop();`;
    const { stderr } = mustSucceed(await node(["--input-type=module", "-e", script]));
    expect(stderr).toContain(
      "a test changed roles of the whole server: all, app_readonly, app_user; they are as before",
    );
    const [one, two] = await Promise.all([take({ connect: true }), take({ connect: true })]);
    const { rows } = await two.client!.query(
      "select current_setting('work_mem') <> '1MB' as setting, current_setting('statement_timeout') as timeout, pg_has_role('app_readonly', 'ai_workflow_owner', 'member') as member",
    );
    expect(rows).toEqual([{ setting: true, timeout: "0", member: false }]);
    await Promise.all([one.drop(), two.drop()]);
  });
});

describe("the pool", () => {
  const stock = async (template?: string) => {
    const { rows } = await registry.client.query<{ count: number }>(
      "select count(*)::integer as count from testdb.clone where state = 'ready' and template = coalesce($1, template)",
      [template],
    );
    return rows[0]!.count;
  };

  test("grows with how many of a template are in use at once, and no further", async () => {
    const one = { seed: (client: pg.Client) => addUser(client, "sized").then(() => {}), seedKey: "sized" };
    const first = await take(one);
    const { template } = (await held()).find(({ name }) => name === first.name)!;
    await until(
      () => stock(template),
      (count) => count === 4,
    );
    const rest = await Promise.all(Array.from({ length: 8 }, () => take(one)));
    await until(
      () => stock(template),
      (count) => count >= 9,
    );
    await Promise.all([first, ...rest].map((db) => db.drop()));
    await nothingHeld();
    expect(await stock(template)).toBeLessThanOrEqual(9 + 2); // two were at work when the last one was missed
  });

  test("goes on when a database can not be removed, which is removed as soon as it can", async () => {
    const [stuck, byHttp] = [await take(), await createHeld(NAME, { ttlSec: 600 })];
    const holder = new pg.Client(adminConfig(server, "postgres"));
    await holder.connect();
    await holder.query(
      `begin; comment on database ${stuck.name} is 'locked'; comment on database ${byHttp.name} is 'locked'`,
    );
    await stuck.drop();
    await expect(dropByName(NAME, byHttp.name)).rejects.toThrow(/lock timeout/);
    for (let count = 0; count < 12; count++) await (await take()).drop();
    await until(stock, (count) => count >= 4);
    expect(await existing()).toEqual(expect.arrayContaining([byHttp.name]));
    await holder.query("rollback");
    await holder.end();
    await nothingHeld();
    expect(await existing()).not.toContain(byHttp.name);
  });

  test("forgets a template nobody used for an hour, with its ready copies", async () => {
    const db = await take({ seed: (client) => addUser(client, "old").then(() => {}), seedKey: "old" });
    await db.drop();
    const { rows } = await registry.client.query<{ database: string }>(
      "update testdb.template set used_at = now() - interval '61 minutes' where label like '%seed' and used_at = (select max(used_at) from testdb.template where label like '%seed') returning database",
    );
    expect(rows).toHaveLength(1);
    await until(
      async () =>
        (
          await registry.client.query<{ name: string }>("select datname as name from pg_database where datname = $1", [
            rows[0]!.database,
          ])
        ).rows,
      (found) => found.length === 0,
    );
    await nothingHeld();
    const { rows: copies } = await registry.client.query(
      "select name from testdb.clone where template not in (select key from testdb.template)",
    );
    expect(copies).toEqual([]);
  });

  test("hands out an open connection that was prepared, and forgets it with the process", async () => {
    const script = `const { closeTestDatabases, testDatabase } = await import(${JSON.stringify(LIBRARY)});
      for (let count = 0; count < 4; count++) { const db = await testDatabase({ connect: true }); const { rows } = await db.client.query("select count(*)::integer as users, current_database() as name from users"); if (rows[0].users !== 0 || rows[0].name !== db.name) throw new Error("wrong one"); await new Promise((resolve) => setTimeout(resolve, 300)); await db.drop(); }
      if (process.argv[1] === "close") await closeTestDatabases();
      process.stdout.write("done");`;
    for (const way of ["end", "close"]) {
      expect(mustSucceed(await node(["--input-type=module", "-e", script, way])).stdout).toBe("done");
    }
    await until(
      async () =>
        (
          await registry.client.query(
            "select from testdb.clone where state = 'ready' and lease is not null and not testdb.is_held(1, lease)",
          )
        ).rowCount,
      (left) => left === 0,
    );
  });
});

describe("a failed test", () => {
  test("keeps its database, which list shows and drop removes", async () => {
    const db = await take({ connect: true });
    await addUser(db.client!);
    await db.keep("failed: adds a user");
    await db.drop();
    const [kept] = await held();
    expect(kept).toMatchObject({ name: db.name, state: "kept", label: "failed: adds a user" });
    expect(kept!.expiresInSec).toBeGreaterThan(1_700);
    const { stdout } = mustSucceed(
      await aiwdb(["testdb", "psql", db.name, "--", "-Atc", "select username from users"]),
    );
    expect(stdout.trim()).toBe("ada");
    mustSucceed(await aiwdb(["testdb", "drop", db.name]));
  });

  test("keeps it no longer than it may", async () => {
    const db = await take();
    await db.keep("short", 1);
    expect(await until(existing, (names) => !names.includes(db.name))).not.toContain(db.name);
  });
});

describe("a killed process", () => {
  const TAKER = `
    const { testDatabase } = await import(${JSON.stringify(LIBRARY)});
    const taken = [];
    for (let count = 0; count < 5; count++) taken.push(await testDatabase({ label: "to be killed", connect: true }));
    process.stdout.write("taken");
    setInterval(() => {}, 1000);`;

  test("loses its databases by the next sweep, of which there are several in 60 s", async () => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", TAKER], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    expect(
      (await held()).filter(
        ({ label, holder }) => label === "to be killed" && holder.startsWith(`process ${child.pid} `),
      ),
    ).toHaveLength(5);
    child.kill("SIGKILL");
    await nothingHeld();
    expect(3 * SWEEP_EVERY_MS).toBeLessThan(60_000);
  });

  test("that took one by command line loses it as well, and one with a time when that is over", async () => {
    const child = spawn("sleep", ["600"], { stdio: "ignore" });
    const [own, timed] = [
      await createHeld(NAME, { pid: child.pid, label: "own" }),
      await createHeld(NAME, { ttlSec: 1, label: "timed" }),
    ];
    await until(existing, (names) => !names.includes(timed.name));
    expect(await existing()).toContain(own.name);
    child.kill("SIGKILL");
    await until(existing, (names) => !names.includes(own.name));
  });

  test("that ends well after giving everything back ends by itself", async () => {
    const script = `const { testDatabase } = await import(${JSON.stringify(LIBRARY)}); const db = await testDatabase({ connect: true }); await db.drop(); process.stdout.write("done");`;
    expect(mustSucceed(await node(["--input-type=module", "-e", script])).stdout).toBe("done");
  });
});

describe("the template", () => {
  test("follows the migrations: changed, broken with the author's error, fixed again", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-migrations-"));
    cpSync(MIGRATIONS, folder, { recursive: true });
    const file = path.join(folder, "0003_create_users.up.sql");
    const original = readFileSync(file, "utf8");
    const columns = async (): Promise<string[]> => {
      // A process of its own reads the files anew.
      const script = `const { testDatabase } = await import(${JSON.stringify(LIBRARY)});
        const db = await testDatabase({ migrationsFolder: ${JSON.stringify(folder)}, connect: true });
        const { rows } = await db.client.query("select column_name from information_schema.columns where table_name = 'users' and column_name like 'extra%'");
        await db.drop(); process.stdout.write(JSON.stringify(rows.map((row) => row.column_name)));`;
      return JSON.parse(mustSucceed(await node(["--input-type=module", "-e", script])).stdout) as string[];
    };
    expect(await columns()).toEqual([]);
    writeFileSync(file, `${original}\nalter table public.users add column extra_one integer;\n`);
    expect(await columns()).toEqual(["extra_one"]);
    writeFileSync(file, `${original}\nalter table public.users add column extra_one intger;\n`);
    await expect(columns()).rejects.toThrow(/0003_create_users\.up\.sql:\d+: type "intger" does not exist/);
    writeFileSync(file, `${original}\nalter table public.users add column extra_two integer;\n`);
    expect(await columns()).toEqual(["extra_two"]);
    writeFileSync(file, original);
    expect(await columns()).toEqual([]);
    rmSync(folder, { recursive: true });
  });

  test("stops at a phase if asked, and is filled by a seed, which it follows too", async () => {
    const early = await take({ phase: 1, role: "ai_workflow_owner", connect: true });
    const tables = await early.client!.query(
      "select to_regclass('public.users') is not null as users, to_regclass('public.tasks') is not null as tasks",
    );
    expect(tables.rows).toEqual([{ users: true, tasks: false }]);
    await early.drop();
    const seeded = async (name: string) => {
      const db = await take({ connect: true, seed: (client) => addUser(client, name).then(() => {}), seedKey: name });
      const found = await users(db.client!);
      await addUser(db.client!, "another");
      await db.reset();
      expect(await users(db.client!)).toEqual([name]);
      await db.drop();
      return found;
    };
    expect(await seeded("first")).toEqual(["first"]);
    expect(await seeded("second")).toEqual(["second"]);
    await expect(
      take({ seed: (client) => client.query("insert into nowhere values (1)").then(() => {}) }),
    ).rejects.toThrow(/The seed failed: relation "nowhere" does not exist/);
  });

  test("whose builder is killed is never used, and its remains go", async () => {
    const script = `const { testDatabase } = await import(${JSON.stringify(LIBRARY)});
      await testDatabase({ seed: async (client) => { process.stdout.write("building"); await client.query("select pg_sleep(600)"); }, seedKey: "killed" });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    expect((await held()).map(({ state }) => state)).toEqual(["building"]);
    child.kill("SIGKILL");
    await nothingHeld();
    const db = await take({
      seed: (client) => addUser(client, "whole").then(() => {}),
      seedKey: "killed",
      connect: true,
    });
    expect(await users(db.client!)).toEqual(["whole"]);
    await db.drop();
  });
});

describe("the registry", () => {
  test("a database whose removal was cut off inside the server is removed, and does not keep the others from it", async () => {
    // What a DROP DATABASE leaves that was killed: the server takes no ALTER DATABASE on it any more.
    const names = ["aiwdb_test_cut_off", "aiwdb_test_unknown"];
    for (const name of names) await registry.client.query(`create database ${name}`);
    await registry.client.query("update pg_database set datconnlimit = -2 where datname = $1", [names[0]]);
    const left = await until(
      () => sweep(registry).then(existing),
      (found) => !names.some((name) => found.includes(name)),
    );
    expect(left).not.toEqual(expect.arrayContaining([expect.stringMatching(/cut_off|unknown/)]));
  });

  test("removes databases it does not know and forgets none it knows", async () => {
    const db = await take();
    await registry.workers.query("create database aiwdb_test_stray");
    await registry.workers.query("create database aiwdb_tmpl_stray");
    await registry.workers.query("create database somebodys_own");
    const swept = await until(
      () => sweep(registry).then(existing),
      (names) => !names.includes("aiwdb_test_stray"),
    );
    expect(swept).toContain(db.name);
    const { rows } = await registry.client.query(
      "select datname from pg_database where datname in ('aiwdb_tmpl_stray', 'somebodys_own')",
    );
    expect(rows).toEqual([{ datname: "somebodys_own" }]);
    await registry.workers.query("drop database somebodys_own");
    await db.drop();
  });

  test("refuses a server that is marked production, and one that is not marked", async () => {
    const admin = new pg.Client(adminConfig(server, "postgres"));
    await admin.connect();
    const mark = (value: string) => admin.query(`alter database ${server.database} set aiwdb.environment = '${value}'`);
    try {
      const before = await existing();
      await mark("production");
      await expect(openRegistry(server)).rejects.toThrow(/marked production; nothing has been done/);
      const started = await aiwdb(["testdb", "start"]);
      expect([started.exitCode, started.stderr]).toEqual([1, expect.stringContaining("marked production")]);
      await mark("development");
      await expect(openRegistry(server)).rejects.toThrow(/not marked as one for tests/);
      await admin.query(`alter database ${server.database} reset aiwdb.environment`);
      await expect(openRegistry(server)).rejects.toThrow(/is not set, not "test"/);
      expect(await existing()).toEqual(before);
    } finally {
      await mark("test");
      await admin.end();
    }
    await (await openRegistry(server)).close();
  });

  test("is nobody's but the superuser's", async () => {
    const client = new pg.Client({ ...(await testDatabaseConfig()), database: REGISTRY_DATABASE });
    await expect(client.connect()).rejects.toThrow(/no pg_hba.conf entry|rejects connection/);
  });

  async function testDatabaseConfig(): Promise<pg.ClientConfig> {
    const db = await take();
    const { config } = db;
    await db.drop();
    return config;
  }
});

describe("the command line", () => {
  test("runs a command with a database of its own, gives its exit code back and drops the database", async () => {
    const result = await aiwdb([
      "testdb",
      "run",
      "--",
      "sh",
      "-c",
      'echo "$PGDATABASE $PGUSER"; psql "$DATABASE_URL" -Atc "select current_database()"; exit 3',
    ]);
    expect(result.exitCode).toBe(3);
    const [, name] = /^(aiwdb_test_\w+) app_user\n\1\n$/.exec(result.stdout) ?? [];
    expect(result.stdout).toMatch(/^(aiwdb_test_\w+) app_user\n\1\n$/);
    await until(existing, (names) => !names.includes(name ?? ""));
  });

  test("reports what a run did not give back", async () => {
    const result = mustSucceed(
      await aiwdb(["testdb", "run", "--", process.execPath, MAIN, "testdb", "create", "--label", "forgotten"]),
    );
    expect(result.stderr).toMatch(/1 test database was not given back[^]*aiwdb_test_\w+, forgotten, 0 sessions/);
    // The run's own may be on its way out still.
    const left = (await held()).find(({ label }) => label === "forgotten");
    mustSucceed(await aiwdb(["testdb", "drop", left!.name]));
  });

  test("creates, lists and drops, and refuses what is wrong", async () => {
    const created = JSON.parse(
      mustSucceed(await aiwdb(["testdb", "create", "--json", "--label", "by hand"])).stdout,
    ) as { name: string; env: Record<string, string> };
    expect(created.env["PGDATABASE"]).toBe(created.name);
    const listed = JSON.parse(mustSucceed(await aiwdb(["testdb", "list", "--json"])).stdout) as ListedDatabase[];
    expect(listed.find(({ name }) => name === created.name)).toMatchObject({ state: "taken", label: "by hand" });
    mustSucceed(await aiwdb(["testdb", "drop", created.name]));
    const bound = JSON.parse(
      mustSucceed(await aiwdb(["testdb", "create", "--json", "--pid", String(process.pid)])).stdout,
    ) as { name: string };
    const ends = async () => (await listDatabases(NAME)).find(({ name }) => name === bound.name)?.expiresInSec;
    expect(await ends()).toBeNull(); // with its process, and at no time
    expect(await renewByName(NAME, bound.name, 600)).toBe(true);
    expect(await ends()).toBeNull();
    mustSucceed(await aiwdb(["testdb", "drop", bound.name]));
    for (const [args, code, message] of [
      [["drop", created.name], 1, "There is no test database"],
      [["drop", created.name, "--name", NAME], 1, `\`npx aiwdb testdb list --name ${NAME}\``],
      [["psql", created.name, "--name", NAME], 1, `\`npx aiwdb testdb list --name ${NAME}\``],
      [["drop"], 2, "takes the name"],
      [["create", "--ttl", "0"], 2, "--ttl"],
      [["create", "--pid", "4194303"], 2, "There is no process 4194303"],
      [["create", "--pid", "x"], 2, "--pid"],
      [["create", "--role", "root"], 2, 'no role "root"'],
      [["create", "--mode", "transaction"], 2, "has no pooler"],
      [["start", "--name", "prod"], 2, "must be named ci-"],
      [["start", "--engine", "cloud"], 2, "container or local"],
      [["run"], 2, "takes it behind --"],
    ] as const) {
      const result = await aiwdb(["testdb", ...args]);
      expect([args, result.exitCode]).toEqual([args, code]);
      expect(result.stderr).toContain(message);
    }
  });
});

describe("the HTTP API", () => {
  const call = (method: string, where: string, body?: unknown, token = readFileSync(serverFiles(NAME).token, "utf8")) =>
    new Promise<{ status: number; body: any }>((resolve, reject) => {
      const message = request(
        { socketPath: serverFiles(NAME).socket, method, path: where, headers: { authorization: `Bearer ${token}` } },
        (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, body: text === "" ? undefined : JSON.parse(text) }),
          );
        },
      );
      message.on("error", reject);
      message.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body));
    });

  test("takes, lists, renews, keeps and drops", async () => {
    const taken = await call("POST", "/v1/databases", { label: "by http" });
    expect(taken).toMatchObject({
      status: 201,
      body: { name: expect.stringMatching(/^aiwdb_test_/), env: { PGUSER: "app_user" } },
    });
    const { name, url } = taken.body as { name: string; url: string };
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.end();
    expect((await call("GET", "/v1/databases")).body).toContainEqual(
      expect.objectContaining({ name, state: "taken", label: "by http" }),
    );
    expect((await call("POST", `/v1/databases/${name}/renew`)).status).toBe(204);
    expect((await call("POST", `/v1/databases/${name}/keep`)).status).toBe(204);
    expect((await call("DELETE", `/v1/databases/${name}`)).status).toBe(204);
    expect((await call("DELETE", `/v1/databases/${name}`)).status).toBe(404);
  });

  test("refuses a wrong token, other paths and requests it does not understand", async () => {
    expect((await call("GET", "/v1/databases", undefined, "wrong")).status).toBe(401);
    expect((await call("GET", "/v2/databases")).status).toBe(404);
    expect((await call("POST", "/v1/databases", "{")).status).toBe(400);
    expect((await call("POST", "/v1/databases", { colour: "red" })).status).toBe(400);
    expect((await call("POST", "/v1/databases", { pid: 2 ** 22 + 1 })).status).toBe(409);
  });
});

describe("the examples", () => {
  const EXAMPLES = path.join(import.meta.dirname, "../../examples");

  test("run with kysely, drizzle and knex", async () => {
    const folder = await driverExamples();
    const { stdout } = mustSucceed(await node(["--test", path.join(folder, "users.test.mjs")]));
    expect(stdout).toMatch(/pass 3/);
  });

  test("run with pytest, and a failed test's database is kept", async () => {
    const python = await pytest();
    const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-pytest-"));
    cpSync(path.join(EXAMPLES, "pytest"), folder, { recursive: true });
    const runPytest = () =>
      program(python, ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder], {
        PYTHONDONTWRITEBYTECODE: "1",
      });
    expect(mustSucceed(await runPytest()).stdout).toMatch(/^3 passed/m);
    writeFileSync(
      path.join(folder, "test_fails.py"),
      "def test_fails(connection):\n    assert connection.execute('select 1').fetchone() == (2,)\n",
    );
    const failed = await runPytest();
    expect(failed.stdout).toMatch(/1 failed, 3 passed/);
    const kept = (await held()).filter(({ state }) => state === "kept");
    expect(failed.stdout).toContain(`kept: npx aiwdb testdb psql ${kept[0]?.name}`);
    expect(kept).toHaveLength(1);
    expect(await dropByName(NAME, kept[0]!.name)).toBe(true);
    rmSync(folder, { recursive: true });
  });

  test("pytest's databases are in the leak report of the run they belong to", async () => {
    const python = await pytest();
    const script =
      "import aiwdb_testdb, subprocess, sys; taken = aiwdb_testdb.create('left by python', pid=int(sys.argv[1])); print(taken['name'])";
    const result = mustSucceed(
      await program(process.execPath, [MAIN, "testdb", "run", "--", python, "-c", script, String(process.pid)], {
        PYTHONPATH: path.join(EXAMPLES, "pytest"),
        PYTHONDONTWRITEBYTECODE: "1",
      }),
    );
    const name = result.stdout.trim();
    expect(result.stderr).toContain("1 test database was not given back");
    expect(result.stderr).toContain(`${name}, process ${process.pid}`);
    expect(await dropByName(NAME, name)).toBe(true);
  });

  test("run with node:test", async () => {
    const result = mustSucceed(await node(["--test", path.join(EXAMPLES, "node-test/users.test.mjs")]));
    expect(result.stdout).toMatch(/pass 1/);
  });
});

describe("a suite of a user's own with vitest", () => {
  const SERVER = `ci-tv${process.pid}`;
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), "aiwdb-suite-"));
    const packages = path.join(folder, "node_modules");
    mkdirSync(packages);
    symlinkSync(path.join(import.meta.dirname, "../.."), path.join(packages, "ai-workflow-database"));
    symlinkSync(path.join(import.meta.dirname, "../../node_modules/vitest"), path.join(packages, "vitest"));
    mkdirSync(path.join(folder, "migrations"));
    write("migrations/0001_create_notes.up.sql", MIGRATION);
    write("migrations/0001_create_notes.down.sql", "drop table public.notes;\n");
    write("seed.sql", "insert into notes (text) values ('seeded');\n");
    const source = { migrationsFolder: path.join(folder, "migrations"), seed: path.join(folder, "seed.sql") };
    write("source.mjs", `export const source = ${JSON.stringify(source)};\n`);
    write(
      "setup.mjs",
      'import { setupWith } from "ai-workflow-database/testing/vitest-setup";\nimport { source } from "./source.mjs";\nexport default setupWith(source);\n',
    );
    write("vitest.config.mjs", 'export default { test: { globalSetup: ["./setup.mjs"] } };\n');
  });
  afterAll(async () => {
    if (existsSync(serverFiles(SERVER).local)) mustSucceed(await aiwdb(["testdb", "stop", "--name", SERVER]));
    rmSync(folder, { recursive: true, force: true });
  });

  const write = (file: string, text: string) => writeFileSync(path.join(folder, file), text);
  const MIGRATION =
    "-- Phase: 1\n-- Why: a suite of its own.\n-- Lock: none.\ncreate table public.notes (text text);\ngrant select, insert on public.notes to app_user;\n";
  const suite = (expected: string) =>
    write(
      "notes.test.mjs",
      `import { testWith } from "ai-workflow-database/testing/vitest";
      import { source } from "./source.mjs";
      const test = testWith(source);
      test("reads what is seeded", async ({ db, expect }) => {
        const client = await db.connect();
        expect((await client.query("select text from notes")).rows).toEqual([{ text: ${JSON.stringify(expected)} }]);
      });\n`,
    );
  const vitest = () =>
    program(
      process.execPath,
      [path.join(import.meta.dirname, "../../node_modules/vitest/vitest.mjs"), "run", "--root", folder, "--no-color"],
      { AIWDB_TESTDB_SERVER: SERVER, AIWDB_TESTDB_ENGINE: "local", VITEST: "", NODE_OPTIONS: "" },
    );

  test("has its own migrations and seed, and the server it started is stopped", async () => {
    suite("seeded");
    const { stdout } = mustSucceed(await vitest());
    expect(stdout).toMatch(/Tests +1 passed/);
    expect(existsSync(serverFiles(SERVER).local)).toBe(false);
  });

  test("whose seed is broken says so once, before any test, and leaves no server", async () => {
    write("seed.sql", "insert into nowhere values (1);\n");
    const { exitCode, stdout, stderr } = await vitest();
    expect(exitCode).toBe(1);
    expect(`${stdout}${stderr}`.split('relation "nowhere" does not exist').length - 1).toBeGreaterThanOrEqual(1);
    expect(stdout).not.toContain("reads what is seeded");
    expect(existsSync(serverFiles(SERVER).local)).toBe(false);
    write("seed.sql", "insert into notes (text) values ('seeded');\n");
  });

  test("keeps a failed test's database, and the server with it", async () => {
    suite("another");
    const { exitCode, stdout, stderr } = await vitest();
    expect([exitCode, stdout]).toEqual([1, expect.stringMatching(/Tests +1 failed/)]);
    const kept = (await listDatabases(SERVER)).filter(({ state }) => state === "kept");
    expect(kept).toMatchObject([{ label: "failed: reads what is seeded" }]);
    const printed = `${stdout}${stderr}`;
    expect(printed).toContain(`npx aiwdb testdb psql ${kept[0]!.name} --name ${SERVER}`);
    expect(printed).toContain(`npx aiwdb testdb stop --name ${SERVER}`);
    mustSucceed(await aiwdb(["testdb", "drop", kept[0]!.name, "--name", SERVER]));
  });
});
