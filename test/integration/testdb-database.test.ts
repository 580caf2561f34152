import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { REGISTRY_DATABASE } from "../../testing/pool/registry.ts";
import { addUser, localServer, users } from "../helpers/local-server.ts";
import { aiwdb, LIBRARY, MIGRATIONS, mustSucceed, node, until } from "../helpers/testdb.ts";

const NAME = `ci-td${process.pid}`;
const local = localServer(NAME);
const { existing, nothingHeld, take } = local;

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
    const foreign = { ...db.config, user: "app_readonly", password: local.server.roles.app_readonly.password };
    for (const [config, message] of [
      [foreign, 'password authentication failed for user "app_readonly"'],
      [{ ...db.config, password: "wrong" }, 'password authentication failed for user "app_user"'],
      [{ ...db.config, ssl: false }, "no encryption"],
    ] as const) {
      const client = new pg.Client(config);
      await expect(client.connect()).rejects.toThrow(message);
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
    const { rows } = await local.registry.client.query(
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
    for (const database of [
      other.name,
      third.name,
      local.server.database,
      "postgres",
      "template1",
      REGISTRY_DATABASE,
    ]) {
      await expect(asked({ ...db.config, database })).rejects.toThrow(/pg_hba.conf|permission denied/);
    }
    await expect(asked({ ...db.config, password: local.server.roles.app_user.password })).rejects.toThrow(/password/);
    await expect(asked({ ...db.config, ssl: false })).rejects.toThrow(/pg_hba.conf/);
    await asked({ connectionString: db.url });
    // Nothing of the others' went along.
    const owners = await local.registry.client.query<{ owner: string }>(
      "select pg_get_userbyid(datdba) as owner from pg_database where datname = any ($1)",
      [[other.name, local.server.database]],
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
    const { rows } = await local.registry.client.query<{ rolname: string }>(
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
