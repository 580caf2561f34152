import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { planRollback, rollBack, type RollbackTarget } from "../../migrate/run/rollback.ts";
import { failureOf, MigrationDatabase } from "../helpers/migration-database.ts";

const database = new MigrationDatabase();

describe("taking back", () => {
  test("undoes the last ones in reverse, and they can be applied again", async () => {
    database.writeThree();
    await database.up();
    expect(await database.down(2)).toEqual({ applied: ["0003_add_name", "0002_create_mails"] });
    expect(await database.tables()).toEqual(["pgmigrations", "users"]);
    expect(await database.up()).toEqual({ applied: ["0002_create_mails", "0003_add_name"] });
    expect(await database.down(3)).toEqual({ applied: ["0003_add_name", "0002_create_mails", "0001_create_users"] });
    expect(await database.applied()).toEqual([]);
  });

  test("refuses more than is applied and what is irreversible, before anything runs", async () => {
    database.writeThree();
    database.write("0002_create_mails", "create table public.mails (id bigint primary key);", "");
    rmSync(join(database.folder, "0002_create_mails.down.sql"));
    await database.up();
    expect((await failureOf(database.down(4))).problems).toMatchObject([{ problem: "only 3 migrations are applied." }]);
    expect((await failureOf(database.down(3))).problems).toMatchObject([
      { subject: "0002_create_mails", problem: "test." },
    ]);
    expect(await database.down(0)).toEqual({ applied: [] });
    expect(await database.applied()).toHaveLength(3);
    expect(await database.down(1)).toEqual({ applied: ["0003_add_name"] });
  });

  test("goes back to a migration or a phase, which stay applied", async () => {
    database.writeThree();
    writeFileSync(
      join(database.folder, "0003_add_name.up.sql"),
      "-- Phase: 2\nalter table public.users add name text;",
    );
    await database.up();
    const migrations = database.files();
    const planned = async (target: RollbackTarget) =>
      (await planRollback(database.client, migrations, target)).migrations.map(({ number }) => number);
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
    database.write(
      "0001_create_marks",
      "create table public.marks (id int);",
      "-- Data loss: none; no row is ever written.\ndrop table public.marks;",
    );
    await database.up();
    const migrations = database.files();
    expect((await planRollback(database.client, migrations, { steps: 1 })).losses).toEqual([]);
  });

  test("loses data only if that is accepted", async () => {
    database.writeThree();
    database.write(
      "0002_create_mails",
      "create table public.mails (id int);",
      "-- Data loss: all mails.\ndrop table public.mails;",
    );
    await database.up();
    const migrations = database.files();
    const plan = await planRollback(database.client, migrations, { steps: 2 });
    expect(plan.losses).toEqual([{ name: "0002_create_mails", loss: "all mails." }]);
    const rollback = (acceptDataLoss: boolean) =>
      rollBack({
        client: database.client,
        folder: database.folder,
        migrations,
        plan,
        acceptDataLoss,
        report: () => {},
      });
    expect((await failureOf(rollback(false))).message).toContain("- 0002_create_mails: all mails.");
    expect(await database.applied()).toHaveLength(3);
    expect(await rollback(true)).toEqual({ applied: ["0003_add_name", "0002_create_mails"] });
    // The plan is old now.
    expect((await failureOf(rollback(true))).message).toContain("changed since the rollback was planned");
    expect(await database.applied()).toEqual(["0001_create_users"]);
  });

  test("leaves everything in place when a down file fails", async () => {
    database.writeThree();
    database.write(
      "0001_create_users",
      "create table public.users (id bigint primary key);",
      "drop table public.nobody;",
    );
    await database.up();
    expect((await failureOf(database.down(3))).message).toMatch(
      /^0001_create_users\.down\.sql:1: table "nobody" does not exist/,
    );
    expect(await database.applied()).toHaveLength(3);
    expect(await database.tables()).toEqual(["mails", "pgmigrations", "users"]);
  });
});
