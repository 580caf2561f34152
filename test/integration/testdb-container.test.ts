import { existsSync, readFileSync, writeFileSync } from "node:fs";
import pg from "pg";
import { stateFile } from "../../stack/backend.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { listDatabases } from "../../testing/databases/by-name.ts";
import { adminConfig, readServer, SERVER_VARIABLE, type TestServer } from "../../testing/description/server.ts";
import { serverFiles } from "../../testing/description/files.ts";
import { closeTestDatabases, testDatabase } from "../../testing/databases/test-database.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { findEngine } from "../../toolchain/engine/find.ts";
import { toolEnvironment } from "../helpers/checkout.ts";
import { aiwdb, mustSucceed, ownHome, until } from "../helpers/testdb.ts";

const NAME = `ci-tp${process.pid}`;

let home: { remove(): void };
let server: TestServer;

beforeAll(async () => {
  Object.assign(process.env, await toolEnvironment());
  home = ownHome();
  process.env[SERVER_VARIABLE] = NAME;
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "container"]));
  server = readServer();
}, 300_000);

afterAll(async () => {
  await closeTestDatabases();
  mustSucceed(await aiwdb(["testdb", "stop"]));
  home.remove();
}, 120_000);

/** Everything that a role may do and every object there is, as text. */
const CONTENTS = `
  select format('%s.%s %s %s %s', nspname, relname, relkind, pg_get_userbyid(relowner), (select array_agg(acl::text order by acl::text) from unnest(relacl) as acl)) as line
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace where nspname !~ '^pg_' and nspname <> 'information_schema'
  union all select format('column %s.%s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attacl)
    from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace where nspname !~ '^pg_' and nspname <> 'information_schema' and attnum > 0
  union all select format('function %s %s %s %s', oid::regprocedure, pg_get_userbyid(proowner), proacl, md5(prosrc)) from pg_proc where pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  union all select format('schema %s %s %s', nspname, pg_get_userbyid(nspowner), nspacl) from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
  union all select format('default %s %s %s', pg_get_userbyid(defaclrole), defaclobjtype, (select array_agg(acl::text order by acl::text) from unnest(defaclacl) as acl)) from pg_default_acl
  union all select format('extension %s %s', extname, extversion) from pg_extension
  union all select format('database %s %s %s %s', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, (select array_agg(acl::text order by acl::text) from unnest(datacl) as acl)) from pg_database where datname = current_database()
  order by line`;

async function contents(config: pg.ClientConfig): Promise<string[]> {
  const client = new pg.Client(config);
  await client.connect();
  const { rows } = await client.query<{ line: string }>(CONTENTS);
  await client.end();
  // The stack's maintenance makes a partition for each month; a template has what the migrations made.
  return rows.map(({ line }) => line).filter((line) => !/_y\d{4}m\d{2}/.test(line));
}

test("a test database has the objects and rights of the stack's own, which Pulumi made", async () => {
  const db = await testDatabase();
  const own = await contents(adminConfig(server, server.database));
  expect(own.length).toBeGreaterThan(1_000);
  expect(await contents(db.as("postgres").config)).toEqual(own);
  await db.drop();
});

test("pg_dump finds the same in one that was emptied, and in one that was reset, as in a new one", async () => {
  const docker = engineClient((await findEngine())!);
  const dump = async (database: string) => {
    const command = ["pg_dump", "-U", "postgres", "-h", "/run/postgresql", "-d", database];
    const { exitCode, stdout, stderr } = await exec(docker, engineNames(NAME).postgres, command);
    expect([exitCode, stderr]).toEqual([0, ""]);
    return stdout.replaceAll(/^\\(un)?restrict .*$/gm, "");
  };
  const [fresh, used] = [await testDatabase(), await testDatabase({ connect: true })];
  const wanted = await dump(fresh.name);
  const use = (client: pg.Client) =>
    client.query("insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')");
  await use(used.client!);
  await used.reset();
  expect(await dump(used.name)).toBe(wanted);
  await use(used.client!);
  await used.drop();
  await until(
    () => listDatabases(NAME),
    (databases) => databases.every(({ name, state }) => state === "ready" || name === fresh.name),
  );
  for (const { name } of (await listDatabases(NAME)).filter(({ state }) => state === "ready")) {
    expect(await dump(name)).toBe(wanted);
  }
  await fresh.drop();
});

test("it is reached through the pooler in transaction mode, and nobody else's is", async () => {
  const [one, two] = await Promise.all([
    testDatabase({ mode: "transaction", connect: true }),
    testDatabase({ mode: "transaction", connect: true }),
  ]);
  await one.client!.query(
    "insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')",
  );
  const count = async (client: pg.Client) =>
    (await client.query("select current_database() as name, count(*)::integer as count from users")).rows;
  expect(await count(one.client!)).toEqual([{ name: one.name, count: 1 }]);
  expect(await count(two.client!)).toEqual([{ name: two.name, count: 0 }]);
  await Promise.all([one.drop(), two.drop()]);
});

test("a server whose container was started again has nothing in its memory any more, and start makes a new one", async () => {
  const engine = engineClient((await findEngine())!);
  await engine.getContainer(engineNames(NAME).postgres).restart();
  const { stderr } = mustSucceed(await aiwdb(["testdb", "start", "--engine", "container"]));
  expect(stderr).toContain(`server ${NAME} is gone, and what was in it; making it anew`);
  const db = await testDatabase({ connect: true });
  expect((await db.client!.query("select count(*)::integer as count from users")).rows).toEqual([{ count: 0 }]);
  await db.drop();
}, 300_000);

test("a state past its expiry is removed with what is left of its stack, and spared before", async () => {
  const docker = engineClient((await findEngine())!);
  const reap = async () => {
    const { stdout } = mustSucceed(await aiwdb(["reap", "--stack", NAME, "--json"]));
    return (JSON.parse(stdout) as { removed: string[] }).removed;
  };
  expect(await reap()).toEqual([]);
  // Somebody removed its network, as `docker system prune` does after a restart of the machine: only the state is left.
  const { postgres, pgbouncer, maintenance, network } = engineNames(NAME);
  for (const name of [maintenance, pgbouncer, postgres]) {
    await docker
      .getContainer(name)
      .remove({ force: true })
      .catch((error: { statusCode?: number }) => {
        if (error.statusCode !== 404) throw error; // not every stack has all of them
      });
  }
  await docker.getNetwork(network).remove();
  expect(await reap()).toEqual([]);
  const file = stateFile(NAME)!;
  const state = JSON.parse(readFileSync(file, "utf8")) as {
    checkpoint: { latest: { resources?: { type: string; created: string }[] } };
  };
  const recorded = state.checkpoint.latest.resources!.find(({ type }) => type === "aiwdb:index:Network")!;
  recorded.created = new Date(Date.now() - 25 * 3_600_000).toISOString();
  writeFileSync(file, JSON.stringify(state));
  expect(await reap()).toEqual([NAME]);
  expect([existsSync(serverFiles(NAME).description), existsSync(serverFiles(NAME).socket)]).toEqual([false, false]);
  const after = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as typeof state) : undefined;
  expect(after?.checkpoint.latest?.resources?.length ?? 0).toBeLessThanOrEqual(1); // the stack itself
}, 300_000);
