import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "pg";
import { afterEach, expect, it, vi } from "vitest";
import { readMigrations } from "../../migrate/chain/files.ts";
import { manifestOf } from "../../migrate/chain/manifest.ts";
import { type Phase, upToPhase } from "../../migrate/chain/phases.ts";
import { migrations as migrationsType } from "../../infra/provider/resources/migrations.ts";
import { called } from "../helpers/provider.ts";
import { createSchemaDatabase, MIGRATIONS_FOLDER, type SchemaDatabase } from "../helpers/schema-database.ts";

// The resource as it is, but for the stack: it gets the owner's connection to a test database.
let owner: Client;
vi.mock("../../database/connection.ts", async (importOriginal) => ({
  ...(await importOriginal<object>()),
  withConnection: (_connection: unknown, use: (client: Client) => unknown) => use(owner),
}));

const migrations = called(migrationsType);

let database: SchemaDatabase;
afterEach(async () => {
  await database.close();
});

const warned: string[] = [];
const report = { status: () => {}, info: () => {}, warn: (line: string) => void warned.push(line) };

function inputs(phase: Phase) {
  const wanted = upToPhase(readMigrations(MIGRATIONS_FOLDER), phase);
  return { connection: {}, folder: MIGRATIONS_FOLDER, ...manifestOf(wanted) };
}

async function tables(): Promise<string[]> {
  const { rows } = await owner.query<{ name: string }>(
    "select tablename as name from pg_catalog.pg_tables where schemaname = 'public' order by 1",
  );
  return rows.map(({ name }) => name);
}

async function months(): Promise<{ parent_table: string; current: boolean }[]> {
  const { rows } = await owner.query<{ parent_table: string; current: boolean }>(`
    select parent_table, now() between starts_at and ends_at as current
    from maintenance.partitions where not is_default order by 1`);
  return rows;
}

it("leaves this month's partition of every log behind, as soon as there is what makes it", async () => {
  database = await createSchemaDatabase("resource", { empty: true });
  owner = await database.connect("ai_workflow_owner");
  await migrations.create(inputs(3), report);
  expect((await owner.query("select to_regnamespace('maintenance') as made")).rows).toEqual([{ made: null }]);
  await owner.query(
    "insert into public.device_login_attempts (email, device_fingerprint, ip_address, user_agent, was_successful) values ('a', 'b', 'c', 'd', true)",
  );
  await migrations.update("db", inputs(3), inputs(4), report);
  expect(await months()).toHaveLength(8);
  expect((await months()).filter(({ current }) => !current)).toEqual([]);
  expect((await owner.query("select from partitions.device_login_attempts_default")).rowCount).toBe(0);
  expect(warned).toEqual([]);
});

it("does not fail where somebody uses a log meanwhile, and says what to do", async () => {
  database = await createSchemaDatabase("resource_busy");
  owner = await database.connect("ai_workflow_owner");
  await database.down(1);
  const reader = await database.connect("app_user");
  await reader.query("begin");
  await reader.query("select from audit.security_metrics");
  const before = inputs(4);
  await migrations.update("db", { ...before, migrations: before.migrations.slice(0, -1) }, inputs(4), report);
  await reader.query("rollback");
  expect(await months()).toHaveLength(7);
  expect(warned).toEqual([
    expect.stringMatching(/^no partition for this month in audit\.security_metrics: .*aiwdb maintain/),
  ]);
});

it("refuses files that have changed since the program read them, and touches nothing", async () => {
  database = await createSchemaDatabase("resource_edited", { empty: true });
  owner = await database.connect("ai_workflow_owner");
  const folder = mkdtempSync(join(tmpdir(), "migrations-"));
  const write = (name: string, sql: string) => {
    writeFileSync(join(folder, `${name}.up.sql`), `-- Phase: 1\n-- Irreversible: test.\n${sql}\n`);
  };
  try {
    write("0001_create_first", "create table public.first ();");
    write("0002_create_second", "create table public.second ();");
    const [first] = readMigrations(folder);
    const before = { connection: {}, folder, ...manifestOf([first!]) };
    const both = { connection: {}, folder, ...manifestOf(readMigrations(folder)) };
    write("0002_create_second", "create table public.second (id int);");
    await expect(migrations.create(both, report)).rejects.toThrow(
      `The migrations in ${folder} are not those that this run began with; nothing was changed:\n` +
        "- 0002_create_second.up.sql: its SQL has changed since this run began.",
    );
    expect(await tables()).toEqual([]);
    await migrations.create(before, report);
    await expect(migrations.update("db", before, both, report)).rejects.toThrow("its SQL has changed");
    rmSync(join(folder, "0002_create_second.up.sql"));
    await expect(migrations.update("db", before, both, report)).rejects.toThrow("is gone now");
    expect(await tables()).toEqual(["first", "pgmigrations"]);
    write("0002_create_second", "create table public.second (); -- as it was");
    await migrations.update("db", before, both, report);
    expect(await tables()).toEqual(["first", "pgmigrations", "second"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("gives the roles their rights to what it makes, although one has taken itself out of them", async () => {
  database = await createSchemaDatabase("resource_rights");
  owner = await database.connect("ai_workflow_owner");
  const app = await database.connect("app_user");
  await database.down(database.migrations.length);
  await app.query("drop owned by app_user");
  await migrations.create(inputs(4), report);
  expect((await app.query("select from public.users")).rowCount).toBe(0);
  expect(
    (await owner.query("select has_sequence_privilege('app_user', 'public.users_id_seq', 'usage') as may")).rows,
  ).toEqual([{ may: true }]);
});
