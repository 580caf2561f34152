import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ArgsDef, type CommandDef, runCommand } from "citty";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import check from "../../cli/commands/migrate/check.ts";
import create from "../../cli/commands/migrate/new.ts";
import plan from "../../cli/commands/migrate/plan.ts";
import rollback from "../../cli/commands/rollback.ts";
import { checkMigrations } from "../../migrate/check/check.ts";
import { StateError, UsageError } from "../../base/errors.ts";
import { printed, takeOutput } from "../helpers/commands.ts";
import { MIGRATIONS_FOLDER } from "../helpers/schema-database.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "commands-"));
  mkdirSync(join(folder, "migrations"));
});
afterEach(() => {
  process.exitCode = 0;
  rmSync(folder, { recursive: true });
});

takeOutput();

function run<T extends ArgsDef>(command: CommandDef<T>, ...args: string[]): Promise<unknown> {
  return runCommand(command, { rawArgs: [...args, "--folder", join(folder, "migrations")] });
}

function writeMigration(name: string, phase: number, sql: string): void {
  const header = `-- Phase: ${phase}\n-- Why: test.\n-- Lock: none.\n`;
  writeFileSync(join(folder, "migrations", `${name}.up.sql`), `${header}${sql}\n`);
  writeFileSync(join(folder, "migrations", `${name}.down.sql`), `${header}-- Data loss: all.\n`);
}

describe("aiwdb migrate new", () => {
  test("writes the next pair with its headers", async () => {
    writeMigration("0001_create_users", 1, "select 1;");
    await run(create, "create_mails", "--phase", "2");
    expect(readdirSync(join(folder, "migrations")).sort().slice(2)).toEqual([
      "0002_create_mails.down.sql",
      "0002_create_mails.up.sql",
    ]);
    expect(readFileSync(join(folder, "migrations/0002_create_mails.up.sql"), "utf8")).toBe(
      "-- Phase: 2\n-- Why:\n-- Lock:\n\n",
    );
    expect(readFileSync(join(folder, "migrations/0002_create_mails.down.sql"), "utf8")).toBe(
      "-- Phase: 2\n-- Why: takes back 0002_create_mails.\n-- Lock:\n\n",
    );
    expect(printed).toMatch(/0002_create_mails\.up\.sql\n.*0002_create_mails\.down\.sql\n$/);
    // Not finished before it says why.
    await expect(run(check)).rejects.toThrow(/no header line "-- Why: …"/);
  });

  test.each([
    [["create_users", "--phase", "1"], StateError, "there is 0001_create_users already"],
    [["create_mails", "--phase", "1"], StateError, "phases never go back"],
    [["create_mails", "--phase", "5"], UsageError, "no such phase"],
    [["CreateMails", "--phase", "2"], UsageError, "can't be named so"],
    [["mails", "--phase", "2"], UsageError, "can't be named so"],
    [["../create_mails", "--phase", "2"], UsageError, "can't be named so"],
  ])("refuses %j", async (args, type, message) => {
    writeMigration("0001_create_users", 2, "select 1;");
    const running = run(create, ...args);
    await expect(running).rejects.toThrow(type);
    await expect(running).rejects.toThrow(message);
    expect(readdirSync(join(folder, "migrations"))).toHaveLength(2);
  });
});

describe("aiwdb migrate check", () => {
  test("is silent on a good chain", async () => {
    writeMigration("0001_create_users", 1, "create table public.users (id bigint primary key);");
    await run(check);
    expect(printed).toBe("");
  });

  test("prints findings once as JSON, and fails", async () => {
    writeMigration("0001_create_users", 1, "commit;");
    await run(check, "--json");
    expect(JSON.parse(printed)).toMatchObject({
      files: 2,
      findings: [{ rule: "transaction-control" }, { rule: "transaction-nesting" }],
      notes: [expect.stringContaining("not compared")],
    });
    expect(process.exitCode).toBe(1);
  });

  test("prints an order for alembic's revisions, and fails for what is wrong with them", async () => {
    writeFileSync(join(folder, "a.py"), "revision = 'a'\ndown_revision = None\n");
    writeFileSync(join(folder, "b.py"), "revision = 'b'\ndown_revision = None\n");
    await expect(run(check, "--alembic", folder)).rejects.toThrow("2 heads: a, b; one chain has one.");
    expect(printed).toBe(
      "2 revisions, 0 missing, 2 heads, 2 roots\n" +
        "Proposed order (2 revisions; * where down_revision has to change):\n" +
        '  a  down_revision = None  (a.py)\n* b  down_revision = "a"  (b.py)\n\n',
    );
  });

  test("prints what alembic's folder holds although nothing is wrong with it", async () => {
    writeFileSync(join(folder, "a.py"), "revision = 'a'\ndown_revision = None\n");
    await run(check, "--alembic", folder);
    expect(printed).toBe("1 revision, 0 missing, 1 head, 1 root\n");
  });

  test("is silent on the package's own chain, compared with the branch it will be merged into", async () => {
    const warned: string[] = [];
    vi.mocked(process.stderr.write).mockImplementation((text) => {
      warned.push(String(text));
      return true;
    });
    await runCommand(check, { rawArgs: [] });
    expect(printed).toBe("");
    // In a checkout without that branch, or of it, there is nothing to compare with, and that is said.
    const { notes } = await checkMigrations({ folder: MIGRATIONS_FOLDER });
    expect(warned.join("")).toBe(notes.map((note) => `! ${note}\n`).join(""));
  });

  test("fails on a base branch that git does not know", async () => {
    const running = runCommand(check, { rawArgs: ["--base", "no-such-branch"] });
    await expect(running).rejects.toThrow(UsageError);
    await expect(running).rejects.toThrow('git knows no revision "no-such-branch" here');
  });
});

describe("aiwdb rollback", () => {
  test.each([
    [[], "exactly one of them is needed"],
    [["--steps", "1", "--phase", "1"], "exactly one of them is needed"],
    [["--steps", "0"], "is no number from 1 on"],
    [["--steps", "1.5"], "is no number from 1 on"],
    [["--phase", "5"], "is none of 0 to 4"],
  ])("refuses %j as wrong usage", async (args, message) => {
    const running = run(rollback, ...args);
    await expect(running).rejects.toThrow(UsageError);
    await expect(running).rejects.toThrow(message);
  });
});

test("aiwdb migrate plan does not show the password of a database that it can't reach", async () => {
  const running = run(plan, "--database-url", "postgresql://owner:s3cret@127.0.0.1:1/db");
  await expect(running).rejects.toThrow(StateError);
  await expect(running).rejects.toThrow(/127\.0\.0\.1:1: (?!.*s3cret)/);
});

test.each(["postgresql://owner:s3cret@[bad/db", "postgresql://owner:s3cret@127.0.0.1:1/db?sslrootcert=/no/such/file"])(
  "aiwdb migrate plan refuses %s as wrong usage, without its password",
  async (url) => {
    const running = run(plan, "--database-url", url);
    await expect(running).rejects.toThrow(UsageError);
    await expect(running).rejects.toThrow(/^The database's URL can't be used:\n- --database-url: (?!.*s3cret)/);
  },
);
