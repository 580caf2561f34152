import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { createHeld, dropByName } from "../../testing/databases/by-name.ts";
import { SWEEP_EVERY_MS } from "../../testing/server/keeper.ts";
import { openRegistry, REGISTRY_DATABASE } from "../../testing/pool/registry.ts";
import { adminConfig } from "../../testing/description/server.ts";
import { sweep } from "../../testing/pool/sweep.ts";
import { addUser, localServer, users } from "../helpers/local-server.ts";
import { aiwdb, LIBRARY, MIGRATIONS, mustSucceed, node, until } from "../helpers/testdb.ts";

const NAME = `ci-to${process.pid}`;
const local = localServer(NAME);
const { existing, held, nothingHeld, take } = local;

describe("the pool", () => {
  const stock = async (template?: string) => {
    const { rows } = await local.registry.client.query<{ count: number }>(
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
    const holder = new pg.Client(adminConfig(local.server, "postgres"));
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
    const { rows } = await local.registry.client.query<{ database: string }>(
      "update testdb.template set used_at = now() - interval '61 minutes' where label like '%seed' and used_at = (select max(used_at) from testdb.template where label like '%seed') returning database",
    );
    expect(rows).toHaveLength(1);
    await until(
      async () =>
        (
          await local.registry.client.query<{ name: string }>(
            "select datname as name from pg_database where datname = $1",
            [rows[0]!.database],
          )
        ).rows,
      (found) => found.length === 0,
    );
    await nothingHeld();
    const { rows: copies } = await local.registry.client.query(
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
          await local.registry.client.query(
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
    for (const name of names) await local.registry.client.query(`create database ${name}`);
    await local.registry.client.query("update pg_database set datconnlimit = -2 where datname = $1", [names[0]]);
    const left = await until(
      () => sweep(local.registry).then(existing),
      (found) => !names.some((name) => found.includes(name)),
    );
    expect(left).not.toEqual(expect.arrayContaining([expect.stringMatching(/cut_off|unknown/)]));
  });

  test("removes databases it does not know and forgets none it knows", async () => {
    const db = await take();
    await local.registry.workers.query("create database aiwdb_test_stray");
    await local.registry.workers.query("create database aiwdb_tmpl_stray");
    await local.registry.workers.query("create database somebodys_own");
    const swept = await until(
      () => sweep(local.registry).then(existing),
      (names) => !names.includes("aiwdb_test_stray"),
    );
    expect(swept).toContain(db.name);
    const { rows } = await local.registry.client.query(
      "select datname from pg_database where datname in ('aiwdb_tmpl_stray', 'somebodys_own')",
    );
    expect(rows).toEqual([{ datname: "somebodys_own" }]);
    await local.registry.workers.query("drop database somebodys_own");
    await db.drop();
  });

  test("refuses a server that is marked production, and one that is not marked", async () => {
    const admin = new pg.Client(adminConfig(local.server, "postgres"));
    await admin.connect();
    const mark = (value: string) =>
      admin.query(`alter database ${local.server.database} set aiwdb.environment = '${value}'`);
    try {
      const before = await existing();
      await mark("production");
      await expect(openRegistry(local.server)).rejects.toThrow(/marked production; nothing has been done/);
      const started = await aiwdb(["testdb", "start"]);
      expect([started.exitCode, started.stderr]).toEqual([1, expect.stringContaining("marked production")]);
      await mark("development");
      await expect(openRegistry(local.server)).rejects.toThrow(/not marked as one for tests/);
      await admin.query(`alter database ${local.server.database} reset aiwdb.environment`);
      await expect(openRegistry(local.server)).rejects.toThrow(/is not set, not "test"/);
      expect(await existing()).toEqual(before);
    } finally {
      await mark("test");
      await admin.end();
    }
    await (await openRegistry(local.server)).close();
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
