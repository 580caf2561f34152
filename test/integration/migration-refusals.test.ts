import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { loginProcessId } from "../../base/node-postgres.ts";
import { MigrationRunningError } from "../../migrate/run/runner.ts";
import { failureOf, MigrationDatabase } from "../helpers/migration-database.ts";

vi.mock("../../base/node-postgres.ts", { spy: true });

const database = new MigrationDatabase();

describe("refuses, and changes nothing, when", () => {
  beforeEach(async () => {
    database.writeThree();
    await database.up(2);
  });
  afterEach(async () => {
    assert.deepEqual(await database.applied(), ["0001_create_users", "0002_create_mails"]);
  });

  test("the SQL of applied files changed; comments and white space may", async () => {
    database.write("0001_create_users", "/* why */ create table public.users (\n  id bigint primary key\n);");
    expect((await database.up(2)).applied).toEqual([]);
    database.write("0001_create_users", "create table public.users (id int primary key);");
    database.write("0002_create_mails", "create table public.mails (id int primary key);");
    expect((await failureOf(database.up())).problems.map(({ subject }) => subject)).toEqual([
      "0001_create_users.up.sql",
      "0002_create_mails.up.sql",
    ]);
  });

  test("an applied file was renamed", async () => {
    rmSync(join(database.folder, "0002_create_mails.up.sql"));
    rmSync(join(database.folder, "0002_create_mails.down.sql"));
    database.write("0002_create_letters", "select 1;");
    expect((await failureOf(database.up())).problems).toMatchObject([
      { subject: "0002_create_mails", problem: "is applied under this name, but its file is now 0002_create_letters." },
    ]);
  });

  test("more is applied than asked for", async () => {
    expect((await failureOf(database.up(1))).problems).toMatchObject([
      { subject: "0002_create_mails", problem: "is applied, but is not among the migrations asked for." },
    ]);
  });

  test("a file is missing in the middle", async () => {
    const migrations = database.files().filter(({ number }) => number !== 1);
    const error = await failureOf(database.up(undefined, database.client, migrations));
    expect(error.problems).toMatchObject([
      { subject: "0001_create_users", problem: "is applied, but its file is missing." },
    ]);
  });

  test("a file stands before applied ones", async () => {
    const [first, second, third] = database.files();
    const migrations = [{ ...third!, name: "0000_add_early", number: 0 }, first!, second!];
    const error = await failureOf(database.up(undefined, database.client, migrations));
    expect(error.problems).toMatchObject([
      { subject: "0000_add_early", problem: "is not applied, but stands before 0002_create_mails, which is." },
    ]);
  });

  test("it would go through a pooler, before any lock is taken", async () => {
    const pooled = await database.open();
    // What a pooler does: the process id it tells a client at login is its own invention.
    vi.mocked(loginProcessId).mockReturnValueOnce(0x7f_00_00_01);
    const holder = await database.open();
    await holder.query("begin; select pg_advisory_xact_lock(7241865325823964)");
    // Not "already running": the pooler is noticed without asking for the lock.
    expect((await failureOf(database.up(3, pooled))).message).toContain("can't run through a connection pooler");
  });

  test("another migrator runs; the message names it", async () => {
    const holder = await database.open();
    await holder.query("begin; select pg_advisory_xact_lock(7241865325823964)");
    const error = await failureOf(database.up());
    expect(error).toBeInstanceOf(MigrationRunningError);
    const { rows } = await holder.query<{ pid: number }>("select pg_backend_pid() as pid");
    expect(error.message).toContain(
      `process ${rows[0]?.pid}: holds the lock of migrations (application "runner test", `,
    );
  });
});
