import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { runner as nodePgMigrate } from "node-pg-migrate";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { loginProcessId } from "../../base/node-postgres.ts";
import { readMigrations } from "../../migrate/chain/files.ts";
import { readApplied } from "../../migrate/run/applied.ts";
import { planRollback, rollBack, type RollbackTarget } from "../../migrate/run/rollback.ts";
import { applyMigrations, MigrationRunningError } from "../../migrate/run/runner.ts";
import { StateError } from "../../base/errors.ts";

vi.mock("../../base/node-postgres.ts", { spy: true });

let folder: string;
let database: string;
let admin: Client;
let client: Client;
const opened: Client[] = [];

function adminUrl(): URL {
  const url = process.env["AIWDB_TEST_ADMIN_URL"];
  if (!url) throw new Error("AIWDB_TEST_ADMIN_URL is not set: the URL of a superuser of a PostgreSQL 16");
  return new URL(url);
}

async function open(stream?: () => Socket): Promise<Client> {
  const url = adminUrl();
  url.pathname = `/${database}`;
  const opening = new Client({
    connectionString: url.href,
    application_name: "runner test",
    ...(stream ? { stream } : {}),
  });
  opening.on("error", () => {});
  await opening.connect();
  opened.push(opening);
  return opening;
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "migrations-"));
  database = `runner_${randomBytes(6).toString("hex")}`;
  admin = new Client({ connectionString: adminUrl().href });
  await admin.connect();
  await admin.query(`create database ${database}`);
  client = await open();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.end().catch(() => {})));
  await admin.query(`drop database ${database} with (force)`);
  await admin.end();
  rmSync(folder, { recursive: true });
});

/** An empty down part makes it irreversible. */
function write(name: string, upSql: string, downSql = "select 1;"): void {
  const header = `-- Phase: 1\n${downSql === "" ? "-- Irreversible: test.\n" : ""}`;
  writeFileSync(join(folder, `${name}.up.sql`), `${header}${upSql}\n`);
  if (downSql !== "") writeFileSync(join(folder, `${name}.down.sql`), `${downSql}\n`);
}

function writeThree(): void {
  write("0001_create_users", "create table public.users (id bigint primary key);", "drop table public.users;");
  write("0002_create_mails", "create table public.mails (id bigint primary key);", "drop table public.mails;");
  write("0003_add_name", "alter table public.users add name text;", "alter table public.users drop name;");
}

const lines: string[] = [];
beforeEach(() => {
  lines.length = 0;
});

function up(count?: number, using = client): Promise<{ applied: string[] }> {
  const migrations = readMigrations(folder).slice(0, count);
  return applyMigrations({ client: using, folder, migrations, direction: "up", report: (line) => lines.push(line) });
}

async function down(steps: number): Promise<{ applied: string[] }> {
  const migrations = readMigrations(folder);
  const plan = await planRollback(client, migrations, { steps });
  return rollBack({ client, folder, migrations, plan, acceptDataLoss: false, report: (line) => lines.push(line) });
}

async function failureOf(promise: Promise<unknown>): Promise<StateError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StateError);
  return error as StateError;
}

async function names(): Promise<string[]> {
  return (await readApplied(client)).map(({ name }) => name);
}

async function tables(): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1",
  );
  return rows.map(({ name }) => name);
}

async function roundTripsOfUp(): Promise<number> {
  let queries = 0;
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  client.query = ((...args: unknown[]) => {
    queries++;
    return query(...args);
  }) as typeof client.query;
  await up();
  client.query = query as typeof client.query;
  return queries;
}

async function heldAdvisoryLocks(): Promise<number> {
  const { rows } = await client.query(
    `select from pg_locks join pg_database on pg_database.oid = pg_locks.database
      where locktype = 'advisory' and datname = current_database()`,
  );
  return rows.length;
}

describe("applying", () => {
  test("a file means the same whatever the database, or its role, has set for every session", async () => {
    await admin.query(`alter database ${database} set standard_conforming_strings = off`);
    await admin.query(`alter database ${database} set transform_null_equals = on`);
    client = await open();
    for (const name of ["0001_create_first", "0002_create_second"]) {
      const table = name.slice("0001_create_".length);
      write(
        name,
        `create table ${table} (word text check (word ~ '^\\d+$'), number int check ((number = null) is null));`,
      );
    }
    await applyMigrations({ client, folder, migrations: readMigrations(folder), direction: "up", report: () => {} });
    await client.query("set standard_conforming_strings = on"); // shows what is stored as it was written
    const { rows } = await client.query<{ found: string }>(
      "select pg_get_constraintdef(oid) as found from pg_constraint where contype = 'c' and conrelid in ('first'::regclass, 'second'::regclass) order by conrelid::regclass::text, conname",
    );
    const [number, word] = ["CHECK (((number = NULL::integer) IS NULL))", "CHECK ((word ~ '^\\d+$'::text))"];
    expect(rows.map(({ found }) => found)).toEqual([number, word, number, word]);
  });

  test("applies what is pending in order, records a checksum each, and does nothing the second time", async () => {
    writeThree();
    expect(await up()).toEqual({ applied: ["0001_create_users", "0002_create_mails", "0003_add_name"] });
    expect(lines).toEqual(["applying 0001_create_users", "applying 0002_create_mails", "applying 0003_add_name"]);
    expect(await readApplied(client)).toEqual(readMigrations(folder).map(({ name, checksum }) => ({ name, checksum })));
    expect(await up()).toEqual({ applied: [] });
    expect(await heldAdvisoryLocks()).toBe(0);
  });

  test("goes up to the last of the given migrations and no further", async () => {
    writeThree();
    expect(await up(2)).toEqual({ applied: ["0001_create_users", "0002_create_mails"] });
    expect(await up(3)).toEqual({ applied: ["0003_add_name"] });
  });

  test("needs two round trips for each migration and a fixed number besides", async () => {
    writeThree();
    const first = await roundTripsOfUp();
    for (let number = 4; number <= 23; number++) write(`00${String(number).padStart(2, "0")}_add_nothing`, "select 1;");
    expect([first, await roundTripsOfUp(), await roundTripsOfUp()]).toEqual([2 * 3 + 7, 2 * 20 + 8, 3]);
  });

  test("takes over a database that node-pg-migrate's own program migrated, and fills the checksums", async () => {
    writeThree();
    await nodePgMigrate({
      dbClient: client,
      dir: folder,
      migrationsTable: "pgmigrations",
      direction: "up",
      count: 2,
      migrationLoaderStrategies: [{ extensions: [".sql"], loader: "sql" }],
      log: () => {},
    });
    expect(await readApplied(client)).toMatchObject([{ checksum: null }, { checksum: null }]);
    expect(await up()).toEqual({ applied: ["0003_add_name"] });
    expect(await readApplied(client)).toEqual(readMigrations(folder).map(({ name, checksum }) => ({ name, checksum })));
  });

  test("goes on after the server's clock went back", async () => {
    writeThree();
    await up(1);
    await client.query("update public.pgmigrations set run_on = run_on + interval '1 day'");
    await up(2);
    expect(await up(3)).toEqual({ applied: ["0003_add_name"] });
    expect(await down(1)).toEqual({ applied: ["0003_add_name"] });
  });

  test("leaves the database as it was when the third of five files fails, and goes on when it is corrected", async () => {
    writeThree();
    write("0003_add_name", "select 'ü😀';\nselect 1;\n\n  alter table public.user\n  add name text;\nselect 2;");
    write("0004_add_more", "create table public.more ();", "drop table public.more;");
    write("0005_add_most", "create table public.most ();", "drop table public.most;");
    const error = await failureOf(up());
    expect(error.message).toBe(
      [
        `0003_add_name.up.sql:5: relation "public.user" does not exist [SQLSTATE 42P01]`,
        "- statement: alter table public.user\n  add name text",
        "- database: nothing was changed, as all migrations of a run are one transaction.",
        "  Correct the cause and run the command again.",
      ].join("\n"),
    );
    expect(await tables()).toEqual([]);
    expect(await heldAdvisoryLocks()).toBe(0);
    write("0003_add_name", "alter table public.users add name text;");
    expect((await up()).applied).toHaveLength(5);
  });

  test("names the line of a syntax error behind characters of four bytes", async () => {
    write("0001_create_users", "select '😀😀';\n\ncreate tabel public.users ();");
    expect((await failureOf(up())).message).toMatch(/^0001_create_users\.up\.sql:4: syntax error at or near "tabel"/);
  });

  test("names the statement that failed at run time, where the server gives no position", async () => {
    write(
      "0001_create_users",
      "create table public.users (id int primary key);\ninsert into public.users values (1);\n-- twice\ninsert into public.users\nvalues (1);",
    );
    const error = await failureOf(up());
    expect(error.message).toMatch(/^0001_create_users\.up\.sql:5: duplicate key value violates unique constraint/);
    expect(error.problems.map(({ subject, problem }) => `${subject}: ${problem}`)).toEqual([
      "statement: insert into public.users\nvalues (1)",
      "detail: Key (id)=(1) already exists.",
      "database: nothing was changed, as all migrations of a run are one transaction.",
    ]);
  });

  test("shows which column was refused, and not the row, which may have hashes in it", async () => {
    write(
      "0001_create_users",
      "create table public.users (name text not null, hash text check (hash <> ''));\ninsert into public.users values ('a', 'secret-of-a-row');",
    );
    await up();
    write("0002_change_users", "update public.users set name = null;");
    const missing = await failureOf(up());
    expect(missing.message).toMatch(/null value in column "name" of relation "users" violates not-null constraint/);
    write("0002_change_users", "insert into public.users select hash, '' from public.users;");
    const broken = await failureOf(up());
    expect(broken.message).toMatch(/violates check constraint "users_hash_check"/);
    for (const error of [missing, broken]) {
      expect(`${error.message} ${JSON.stringify(error.problems)}`).not.toMatch(/secret-of-a-row|Failing row/);
    }
  });

  test("shows the lost connection when it breaks in mid migration, and nothing stays", async () => {
    write(
      "0001_create_users",
      "create table public.users ();\nselect pg_terminate_backend(pg_backend_pid());\nselect 1;",
    );
    const error = await failureOf(up());
    expect(error.message).toMatch(/^0001_create_users\.up\.sql:3: terminating connection due to administrator command/);
    client = await open();
    expect(await tables()).toEqual([]);
    expect(await heldAdvisoryLocks()).toBe(0);
  });

  test("lets go of everything within seconds when the migrator is killed in mid statement", async () => {
    write("0001_create_users", "create table public.users ();\nselect pg_sleep(60);");
    const socket = new Socket();
    const killed = await open(() => socket);
    const running = failureOf(up(1, killed));
    await expect.poll(heldAdvisoryLocks).toBe(1);
    socket.destroy(); // what the kernel does to the sockets of a process that gets SIGKILL
    await running;
    await expect.poll(heldAdvisoryLocks).toBe(0);
    write("0001_create_users", "create table public.users ();");
    expect((await up()).applied).toEqual(["0001_create_users"]);
  });

  test("gives every file the same settings, whatever the ones before it set", async () => {
    write(
      "0002_show_settings",
      "create table public.settings as select name, setting from pg_settings where name in ('lock_timeout', 'search_path', 'work_mem');",
    );
    const { rows: before } = await client.query("show work_mem");
    write("0001_set_settings", "set local lock_timeout = 0; set search_path = ''; set work_mem = '1MB';");
    await up();
    const { rows } = await client.query("select * from public.settings order by name");
    expect(rows).toEqual([
      { name: "lock_timeout", setting: "500" },
      { name: "search_path", setting: "public" },
      { name: "work_mem", setting: expect.not.stringMatching(/^1024$/) },
    ]);
    expect((await client.query("show work_mem")).rows).toEqual(before);
    expect((await client.query("show lock_timeout")).rows).toEqual([{ lock_timeout: "0" }]);
  });

  test("refuses commit in a file before anything runs", async () => {
    write("0001_create_users", "create table public.users ();\nCommit;\nselect 1;");
    expect((await failureOf(up())).message).toContain(
      "- 0001_create_users.up.sql:3: `Commit` would end the transaction",
    );
    expect(await tables()).toEqual([]);
  });

  test("takes function bodies with begin and end", async () => {
    write(
      "0001_create_functions",
      "create function public.one() returns int begin atomic select 1; select case when true then 2 end; end;\n" +
        "do $$ begin perform 1; end $$;",
    );
    expect((await up()).applied).toHaveLength(1);
  });
});

describe("refuses, and changes nothing, when", () => {
  beforeEach(async () => {
    writeThree();
    await up(2);
  });
  afterEach(async () => {
    assert.deepEqual(await names(), ["0001_create_users", "0002_create_mails"]);
  });

  test("the SQL of applied files changed; comments and white space may", async () => {
    write("0001_create_users", "/* why */ create table public.users (\n  id bigint primary key\n);");
    expect((await up(2)).applied).toEqual([]);
    write("0001_create_users", "create table public.users (id int primary key);");
    write("0002_create_mails", "create table public.mails (id int primary key);");
    expect((await failureOf(up())).problems.map(({ subject }) => subject)).toEqual([
      "0001_create_users.up.sql",
      "0002_create_mails.up.sql",
    ]);
  });

  test("an applied file was renamed", async () => {
    rmSync(join(folder, "0002_create_mails.up.sql"));
    rmSync(join(folder, "0002_create_mails.down.sql"));
    write("0002_create_letters", "select 1;");
    expect((await failureOf(up())).problems).toMatchObject([
      { subject: "0002_create_mails", problem: "is applied under this name, but its file is now 0002_create_letters." },
    ]);
  });

  test("more is applied than asked for", async () => {
    expect((await failureOf(up(1))).problems).toMatchObject([
      { subject: "0002_create_mails", problem: "is applied, but is not among the migrations asked for." },
    ]);
  });

  test("a file is missing in the middle", async () => {
    const migrations = readMigrations(folder).filter(({ number }) => number !== 1);
    const error = await failureOf(applyMigrations({ client, folder, migrations, direction: "up", report: () => {} }));
    expect(error.problems).toMatchObject([
      { subject: "0001_create_users", problem: "is applied, but its file is missing." },
    ]);
  });

  test("a file stands before applied ones", async () => {
    const [first, second, third] = readMigrations(folder);
    const migrations = [{ ...third!, name: "0000_add_early", number: 0 }, first!, second!];
    const error = await failureOf(applyMigrations({ client, folder, migrations, direction: "up", report: () => {} }));
    expect(error.problems).toMatchObject([
      { subject: "0000_add_early", problem: "is not applied, but stands before 0002_create_mails, which is." },
    ]);
  });

  test("it would go through a pooler, before any lock is taken", async () => {
    const pooled = await open();
    // What a pooler does: the process id it tells a client at login is its own invention.
    vi.mocked(loginProcessId).mockReturnValueOnce(0x7f_00_00_01);
    const holder = await open();
    await holder.query("begin; select pg_advisory_xact_lock(7241865325823964)");
    // Not "already running": the pooler is noticed without asking for the lock.
    expect((await failureOf(up(3, pooled))).message).toContain("can't run through a connection pooler");
  });

  test("another migrator runs; the message names it", async () => {
    const holder = await open();
    await holder.query("begin; select pg_advisory_xact_lock(7241865325823964)");
    const error = await failureOf(up());
    expect(error).toBeInstanceOf(MigrationRunningError);
    const { rows } = await holder.query<{ pid: number }>("select pg_backend_pid() as pid");
    expect(error.message).toContain(
      `process ${rows[0]?.pid}: holds the lock of migrations (application "runner test", `,
    );
  });
});

/** Reads until told to stop; after each read, in which of the tries it was answered. */
async function triesServed(reader: Client, until: AbortSignal): Promise<Set<number>> {
  const served = new Set<number>();
  while (!until.aborted) {
    await reader.query("select from public.users");
    served.add(lines.filter((line) => line.startsWith("applying ")).length);
  }
  return served;
}

/** How often the reader was seen waiting for somebody's lock. */
async function queuesBehind(reader: Client, until: AbortSignal): Promise<number> {
  const watcher = await open();
  const { rows } = await reader.query<{ pid: number }>("select pg_backend_pid() as pid");
  let seen = 0;
  while (!until.aborted) {
    const blocked = await watcher.query("select from unnest(pg_blocking_pids($1))", [rows[0]?.pid]);
    if (blocked.rowCount) seen += 1;
  }
  return seen;
}

describe("at once", () => {
  test("of twenty migrators exactly one applies each migration", async () => {
    writeThree();
    const clients = await Promise.all(Array.from({ length: 20 }, () => open()));
    const results = await Promise.allSettled(clients.map((each) => up(3, each)));
    const applied = results.flatMap((result) => (result.status === "fulfilled" ? result.value.applied : []));
    expect(applied).toEqual(["0001_create_users", "0002_create_mails", "0003_add_name"]);
    const failures = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
    expect(failures.filter((failure) => !(failure instanceof MigrationRunningError))).toEqual([]);
    expect(await names()).toHaveLength(3);
  });

  test("a lock held for a while is waited for in short tries that block no reader for long", async () => {
    writeThree();
    await up(2);
    const holder = await open();
    await holder.query("begin; select from public.users");
    const running = up();
    await expect.poll(() => lines.some((line) => line.includes("try 2 of 5"))).toBe(true);
    await holder.query("commit");
    expect(await running).toEqual({ applied: ["0003_add_name"] });
  });

  test("a lock held for good ends after five tries with its holder named; other readers wait for one try at most", async () => {
    writeThree();
    await up(2);
    const holder = await open();
    await holder.query("begin; select from public.users");
    const reader = await open();
    const reading = new AbortController();
    lines.length = 0;
    const running = failureOf(up());
    const served = triesServed(reader, reading.signal);
    const queued = queuesBehind(reader, reading.signal);
    const error = await running;
    reading.abort();
    // The lock that is held for good was never given back: they were served between the tries, each of which ends by itself.
    expect(await queued).toBeGreaterThan(0);
    expect([...(await served)].filter((tries) => tries >= 1 && tries < 5).length).toBeGreaterThanOrEqual(3);
    expect(lines.filter((line) => line === "applying 0003_add_name")).toHaveLength(5);
    expect(error.message).toMatch(
      /^0003_add_name\.up\.sql:2: canceling statement due to lock timeout \[SQLSTATE 55P03\]/,
    );
    expect(error.message).toContain(`holds locks on users (application "runner test"`);
    expect(await names()).toHaveLength(2);
  });

  test("a try waits for a lock half a second, whatever the role has set", async () => {
    write("0001_show_timeout", "do $$ begin raise exception 'waits %', current_setting('lock_timeout'); end $$;");
    await client.query("set lock_timeout = '1h'");
    expect((await failureOf(up())).message).toContain("waits 500ms");
  });
});

describe("taking back", () => {
  test("undoes the last ones in reverse, and they can be applied again", async () => {
    writeThree();
    await up();
    expect(await down(2)).toEqual({ applied: ["0003_add_name", "0002_create_mails"] });
    expect(await tables()).toEqual(["pgmigrations", "users"]);
    expect(await up()).toEqual({ applied: ["0002_create_mails", "0003_add_name"] });
    expect(await down(3)).toEqual({ applied: ["0003_add_name", "0002_create_mails", "0001_create_users"] });
    expect(await names()).toEqual([]);
  });

  test("refuses more than is applied and what is irreversible, before anything runs", async () => {
    writeThree();
    write("0002_create_mails", "create table public.mails (id bigint primary key);", "");
    rmSync(join(folder, "0002_create_mails.down.sql"));
    await up();
    expect((await failureOf(down(4))).problems).toMatchObject([{ problem: "only 3 migrations are applied." }]);
    expect((await failureOf(down(3))).problems).toMatchObject([{ subject: "0002_create_mails", problem: "test." }]);
    expect(await down(0)).toEqual({ applied: [] });
    expect(await names()).toHaveLength(3);
    expect(await down(1)).toEqual({ applied: ["0003_add_name"] });
  });

  test("goes back to a migration or a phase, which stay applied", async () => {
    writeThree();
    writeFileSync(join(folder, "0003_add_name.up.sql"), "-- Phase: 2\nalter table public.users add name text;");
    await up();
    const migrations = readMigrations(folder);
    const planned = async (target: RollbackTarget) =>
      (await planRollback(client, migrations, target)).migrations.map(({ number }) => number);
    expect(await planned({ to: "0001_create_users" })).toEqual([3, 2]);
    expect(await planned({ to: "0003_add_name" })).toEqual([]);
    expect(await planned({ phase: 1 })).toEqual([3]);
    expect(await planned({ phase: 4 })).toEqual([]);
    expect(await planned({ phase: 0 })).toEqual([3, 2, 1]);
    expect((await failureOf(planned({ to: "0004_add_more" }))).problems).toMatchObject([
      { subject: "0004_add_more", problem: "is not applied." },
    ]);
  });

  test("asks nothing where what is lost is none", async () => {
    write(
      "0001_create_marks",
      "create table public.marks (id int);",
      "-- Data loss: none; no row is ever written.\ndrop table public.marks;",
    );
    await up();
    const migrations = readMigrations(folder);
    expect((await planRollback(client, migrations, { steps: 1 })).losses).toEqual([]);
  });

  test("loses data only if that is accepted", async () => {
    writeThree();
    write(
      "0002_create_mails",
      "create table public.mails (id int);",
      "-- Data loss: all mails.\ndrop table public.mails;",
    );
    await up();
    const migrations = readMigrations(folder);
    const plan = await planRollback(client, migrations, { steps: 2 });
    expect(plan.losses).toEqual([{ name: "0002_create_mails", loss: "all mails." }]);
    const rollback = (acceptDataLoss: boolean) =>
      rollBack({ client, folder, migrations, plan, acceptDataLoss, report: () => {} });
    expect((await failureOf(rollback(false))).message).toContain("- 0002_create_mails: all mails.");
    expect(await names()).toHaveLength(3);
    expect(await rollback(true)).toEqual({ applied: ["0003_add_name", "0002_create_mails"] });
    // The plan is old now.
    expect((await failureOf(rollback(true))).message).toContain("changed since the rollback was planned");
    expect(await names()).toEqual(["0001_create_users"]);
  });

  test("leaves everything in place when a down file fails", async () => {
    writeThree();
    write("0001_create_users", "create table public.users (id bigint primary key);", "drop table public.nobody;");
    await up();
    expect((await failureOf(down(3))).message).toMatch(
      /^0001_create_users\.down\.sql:1: table "nobody" does not exist/,
    );
    expect(await names()).toHaveLength(3);
    expect(await tables()).toEqual(["mails", "pgmigrations", "users"]);
  });
});
