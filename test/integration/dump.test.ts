import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, expect, inject, test } from "vitest";
import { exec } from "../../toolchain/engine/containers.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { asSuperuser, containerName, docker, eventually, query } from "../helpers/connect.ts";
import { mustSucceed, SETTINGS } from "../helpers/real-stack.ts";

const RESTORED = `restored_${process.pid}`;
let checkout: Checkout;
let folder: string;

beforeAll(async () => {
  const { name, home } = inject("stack");
  checkout = await createCheckout(home);
  checkout.settings(name, SETTINGS);
  folder = mkdtempSync(path.join(tmpdir(), "aiwdb-dump-"));
});

afterEach(async () => {
  await asSuperuser((client) => client.query(`drop database if exists ${RESTORED}`));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const dumpArguments = (...args: string[]) => ["dump", "--stack", inject("stack").name, ...args];
const dump = (...args: string[]) => checkout.aiwdb(dumpArguments(...args));
const file = (name: string) => path.join(folder, name);
/** A shell word for the command line of a dump. */
const line = (...args: string[]) => [path.join(checkout.root, "bin/aiwdb"), ...dumpArguments(...args)].join(" ");

/** Runs a program of the server's own version in its container, with a file of this machine as its input. */
async function inContainer(program: string, input: string): Promise<string> {
  const command = `docker exec -i ${containerName("postgres")} ${program} < ${input}`;
  return mustSucceed(await checkout.shell(command)).stdout;
}

const DIGEST = `
  select json_object_agg(format('%I.%I', schemaname, tablename),
    (xpath('/row/digest/text()', query_to_xml(format(
      'select count(*) || '' '' || coalesce(md5(string_agg(each::text, '','' order by each::text)), '''') as digest from %I.%I as each',
      schemaname, tablename), false, true, '')))[1]::text order by schemaname, tablename) as digests
  from pg_tables where schemaname not in ('pg_catalog', 'information_schema')`;

/** Number and digest of the rows of each table. */
async function digests(database: string): Promise<Record<string, string>> {
  return asSuperuser(async (client) => (await client.query(DIGEST)).rows[0].digests, database);
}

test("an archive in a file of this user's only, by the server's own pg_dump, restores to the same rows, owners and rights", async () => {
  await query(
    "app_user",
    "direct",
    `insert into users (username, email, hashed_password, tfa_secret)
    values ('dump-${process.pid}', 'dump-${process.pid}@example.org', E'\\u001B[2J', 'x')`,
  );
  const result = mustSucceed(await dump("--output", file("a.dump"), "--json"));
  const { size, mode } = statSync(file("a.dump"));
  expect(mode & 0o777).toBe(0o600);
  expect(JSON.parse(result.stdout)).toEqual({
    file: file("a.dump"),
    format: "custom",
    bytes: size,
    database: "ai_workflow_db",
    warnings: [],
  });
  expect(readdirSync(folder)).toEqual(["a.dump"]);

  const list = await inContainer("pg_restore --list", file("a.dump"));
  expect(list).toMatch(/Dumped from database version: 16\.\d+/);
  expect(list).toContain("TABLE DATA public users ai_workflow_owner");

  await asSuperuser((client) => client.query(`create database ${RESTORED} owner ai_workflow_owner template template0`));
  await inContainer(`pg_restore -U postgres -h /run/postgresql --exit-on-error -d ${RESTORED}`, file("a.dump"));
  const [original, restored] = [await digests("ai_workflow_db"), await digests(RESTORED)];
  expect(Object.keys(original).length).toBeGreaterThan(70);
  expect(original["public.users"]).not.toMatch(/^0 /);
  expect(restored).toEqual(original);
  const RIGHTS = `select array_agg(format('%s %s %s', oid::regclass, relowner::regrole,
      (select array_agg(each order by each::text) from unnest(coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))) as each)) order by oid::regclass::text) as rights
    from pg_class where relkind in ('r', 'p', 'v', 'm', 'S') and relnamespace = 'public'::regnamespace`;
  const rights = (database: string) =>
    asSuperuser(async (client) => (await client.query(RIGHTS)).rows[0].rights as string[], database);
  expect(await rights(RESTORED)).toEqual(await rights("ai_workflow_db"));
});

test("to stdout it writes the same bytes as pg_dump, and nothing else", async () => {
  const only = ["--", "--table", "public.users", "--section", "data"];
  mustSucceed(await checkout.shell(`${line("--format", "plain", ...only)} > ${file("b.sql")}`));
  const pgDump = "pg_dump -U postgres -h /run/postgresql -Fp -t public.users --section=data -d ai_workflow_db";
  const { stdout } = await exec(docker(), containerName("postgres"), pgDump.split(" "));
  // A plain dump has a token that is made anew each time.
  const comparable = (text: string) => text.replaceAll(/^\\(un)?restrict .*$/gm, "");
  expect(comparable(readFileSync(file("b.sql"), "utf8"))).toBe(comparable(stdout));
  expect(stdout).toContain("\u001B[2J"); // what output for people would have made inert
  mustSucceed(await checkout.shell(`${line()} > ${file("b.dump")}`));
  expect(await inContainer("pg_restore --list", file("b.dump"))).toContain("TABLE DATA public users");
});

test("--schema-only has no rows, --data-only no tables, and what pg_dump says is shown", async () => {
  const schema = mustSucceed(await dump("--schema-only", "--format", "plain")).stdout;
  expect(schema).toContain("CREATE TABLE public.users");
  expect(schema).not.toMatch(/^COPY /m);
  const { stdout, stderr } = mustSucceed(await dump("--data-only", "--format", "plain", "--", "--verbose"));
  expect(stdout).toMatch(/^COPY public\.users /m);
  expect(stdout).not.toContain("CREATE TABLE");
  expect(stderr).toMatch(/pg_dump: dumping contents of table "public.users"/);
});

test("a terminal, JSON beside the dump, a file that is there and arguments of other files are refused", async () => {
  const refused = async (exitCode: number, message: string, ...args: string[]) => {
    const result = await dump(...args);
    expect([result.exitCode, result.stderr]).toEqual([exitCode, expect.stringContaining(message)]);
  };
  const atTerminal = await checkout.onTerminal(dumpArguments());
  expect(atTerminal).toMatchObject({ exitCode: 2, stdout: expect.stringContaining("is a terminal") });
  expect(atTerminal.stdout).not.toContain("PGDMP");
  await refused(2, "has either the dump or the JSON", "--json");
  await refused(2, "There is no format", "--format", "directory");
  await refused(2, "pg_dump does not get these arguments", "--output", file("x"), "--", "-f", "/tmp/x");
  writeFileSync(file("there"), "mine");
  await refused(1, "give --overwrite", "--output", file("there"));
  symlinkSync(file("there"), file("link"));
  await refused(1, "is no file", "--output", file("link"), "--overwrite");
  await refused(1, "its folder does not exist", "--output", file("none/x"));
  await refused(1, "exit code 1", "--output", file("x"), "--", "--table", "public.no_such_table");
  expect(readFileSync(file("there"), "utf8")).toBe("mine");
  mustSucceed(await dump("--output", file("there"), "--overwrite", "--schema-only"));
  expect(readFileSync(file("there"), "latin1")).toMatch(/^PGDMP/);
  expect(readdirSync(folder).toSorted()).toEqual(["a.dump", "b.dump", "b.sql", "link", "there"]);
});

test("a frozen database is dumped too", async () => {
  await asSuperuser((client) => client.query("alter database ai_workflow_db set default_transaction_read_only = on"));
  try {
    expect(mustSucceed(await dump("--schema-only", "--format", "plain")).stdout).toContain("CREATE TABLE");
  } finally {
    await asSuperuser(async (client) => {
      await client.query("begin read write");
      await client.query("alter database ai_workflow_db reset default_transaction_read_only");
      await client.query("commit");
    });
  }
});

const SESSIONS = "select count(*)::int as sessions from pg_stat_activity where application_name like 'aiwdb dump %'";
const sessions = () => asSuperuser(async (client) => (await client.query(SESSIONS)).rows[0].sessions as number);

test("a dump that waits says so, and one that is stopped leaves no file and no session", async () => {
  await asSuperuser(async (client) => {
    await client.query("begin; lock table public.users in access exclusive mode");
    const child = spawn(path.join(checkout.root, "bin/aiwdb"), dumpArguments("--output", file("stopped")), {
      cwd: checkout.root,
      env: checkout.env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
    const ended = once(child, "close");
    await eventually(async () => expect(said).toContain("dumping ai_workflow_db: 0 KiB so far"));
    expect(await sessions()).toBe(1);
    child.kill("SIGINT");
    expect(await ended).toEqual([1, null]);
    expect(said).toContain("The dump was stopped by SIGINT");
    expect(await sessions()).toBe(0);
    await client.query("rollback");
  });
  expect(readdirSync(folder).filter((name) => name.startsWith("stopped"))).toEqual([]);
});

test("a full disk behind stdout is one message", async () => {
  const result = await checkout.shell(`{ ${line("--", "--compress=0")} || echo "code $?" >&2; } > /dev/full`);
  expect(result.stderr).toMatch(/was cut off: ENOSPC: no space left on device, write\ncode 1\n$/);
  expect(result.stderr).not.toMatch(/^ +at /m);
  await eventually(async () => expect(await sessions()).toBe(0));
});

test("a reader that leaves makes it fail", async () => {
  const result = await checkout.shell(`{ ${line("--", "--compress=0")} || echo "code $?" >&2; } | head -c 5`);
  expect(result.stdout).toBe("PGDMP");
  expect(result.stderr).toMatch(/whoever reads it has left\ncode 1/);
  await eventually(async () => expect(await sessions()).toBe(0));
});
