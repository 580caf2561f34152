import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { semanticChecksum } from "../../migrate/chain/checksum.ts";
import { readMigrations } from "../../migrate/chain/files.ts";
import { parseHeader } from "../../migrate/chain/header.ts";
import { parsePhase, upToPhase } from "../../migrate/chain/phases.ts";
import { StateError } from "../../base/errors.ts";

// As they are, with their calls counted.
vi.mock("node:fs", { spy: true });
vi.mock("../../migrate/chain/checksum.ts", { spy: true });

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "migrations-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function write(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
}

function pair(name: string, phase: number | string = 1): Record<string, string> {
  return {
    [`${name}.up.sql`]: `-- Phase: ${phase}\n-- Why: test.\nselect 1;\n`,
    [`${name}.down.sql`]: `-- Data loss: rows.\nselect 2;\n`,
  };
}

function problems(): string[] {
  try {
    readMigrations(folder);
  } catch (error) {
    if (error instanceof StateError) return error.problems.map(({ subject, problem }) => `${subject}: ${problem}`);
    throw error;
  }
  return [];
}

describe("readMigrations", () => {
  test("gives every migration in order, with both files and both headers", () => {
    write({ ...pair("0002_add_mail", 2), ...pair("0001_create_users") });
    const migrations = readMigrations(folder);
    expect(migrations).toEqual([
      {
        name: "0001_create_users",
        number: 1,
        phase: 1,
        upPath: join(folder, "0001_create_users.up.sql"),
        downPath: join(folder, "0001_create_users.down.sql"),
        header: { Phase: "1", Why: "test." },
        downHeader: { "Data loss": "rows." },
        up: "-- Phase: 1\n-- Why: test.\nselect 1;\n",
        down: "-- Data loss: rows.\nselect 2;\n",
        checksum: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
      expect.objectContaining({ name: "0002_add_mail", number: 2, phase: 2 }),
    ]);
    expect(upToPhase(migrations, 1).map(({ number }) => number)).toEqual([1]);
  });

  test("takes a migration without a down file if its header says why it can't be undone", () => {
    write({ "0001_drop_users.up.sql": "-- Phase: 1\n-- Irreversible: the rows are gone.\n" });
    expect(readMigrations(folder)).toMatchObject([{ downPath: undefined }]);
    expect(readMigrations(folder)[0]).not.toHaveProperty("down");
  });

  test("passes over dot files and takes an empty folder", () => {
    write({ ".0001_create_users.up.sql.swp": "" });
    expect(readMigrations(folder)).toEqual([]);
  });

  test.each<[string, Record<string, string>, string[]]>([
    [
      "a duplicate number",
      { ...pair("0001_create_users"), ...pair("0001_create_mails") },
      ["0001_create_users: has the number of 0001_create_mails; which of them runs first would be chance."],
    ],
    [
      "a gap",
      { ...pair("0001_create_users"), ...pair("0004_create_mails") },
      ["0004_create_mails: 0002 to 0003 missing before it; a migration was deleted, or numbered past the next one."],
    ],
    ["a number 0", pair("0000_create_users"), ["0000_create_users: numbers begin with 0001."]],
    [
      "a first number that is not 1",
      pair("0002_create_users"),
      ["0002_create_users: 0001 missing before it; a migration was deleted, or numbered past the next one."],
    ],
    [
      "a missing down file",
      { "0001_create_users.up.sql": "-- Phase: 1\n" },
      ["0001_create_users.up.sql: 0001_create_users.down.sql is missing, and no header says why it can't be undone."],
    ],
    [
      "a missing up file",
      { "0001_create_users.down.sql": "" },
      ["0001_create_users.down.sql: 0001_create_users.up.sql is missing."],
    ],
    [
      "an irreversible migration with a down file",
      { ...pair("0001_create_users"), "0001_create_users.up.sql": "-- Phase: 1\n-- Irreversible: why.\n" },
      ["0001_create_users.down.sql: exists although 0001_create_users.up.sql says that it is irreversible."],
    ],
    [
      "a bad name",
      { "1_createUsers.up.sql": "" },
      ["1_createUsers.up.sql: the name is not of the form NNNN_verb_object.up.sql or NNNN_verb_object.down.sql."],
    ],
    ["an unexpected file", { "README.md": "" }, ["README.md: unexpected; this folder holds migration files only."]],
    [
      "a missing phase",
      { "0001_create_users.up.sql": "select 1;", "0001_create_users.down.sql": "" },
      ["0001_create_users.up.sql: has no header line that names its phase."],
    ],
    [
      "a phase that does not exist",
      pair("0001_create_users", 5),
      [`0001_create_users.up.sql: its header names phase "5", which is none.`],
    ],
    [
      "a phase that goes back",
      { ...pair("0001_create_users", 2), ...pair("0002_create_mails", 1) },
      [
        "0002_create_mails.up.sql: is of phase 1, but 0001_create_users before it is of phase 2; a stack that stops at phase 1 could not run it.",
      ],
    ],
  ])("refuses %s", (_, files, expected) => {
    write(files);
    expect(problems()).toEqual(expected);
  });

  test("lists all problems at once", () => {
    write({ "notes.txt": "", "bad.sql": "", ...pair("0002_create_users", 9) });
    expect(problems()).toHaveLength(4);
    expect(() => readMigrations(folder)).toThrow(/can't be used \(4 problems\):\n- bad\.sql: /);
  });

  test("refuses a folder that does not exist", () => {
    expect(() => readMigrations(join(folder, "nowhere"))).toThrow(StateError);
    mkdirSync(join(folder, "somewhere"));
    expect(problems()).toEqual(["somewhere: unexpected; this folder holds migration files only."]);
  });

  // How long that takes: bench/checksum.ts.
  test("reads 1,000 migrations with one look at the folder, one reading and one checksum of each file", () => {
    for (let number = 1; number <= 1000; number++) write(pair(`${String(number).padStart(4, "0")}_create_table`));
    vi.clearAllMocks();
    expect(readMigrations(folder)).toHaveLength(1000);
    expect(vi.mocked(readdirSync)).toHaveBeenCalledTimes(1);
    const read = vi.mocked(readFileSync).mock.calls.map(([file]) => String(file));
    expect(read).toHaveLength(2000);
    expect(new Set(read).size).toBe(2000);
    expect(vi.mocked(semanticChecksum)).toHaveBeenCalledTimes(1000);
  });
});

describe("parseHeader", () => {
  test("reads keys up to the first line that is no comment, and goes on over several lines", () => {
    expect(
      parseHeader("-- Phase: 2\r\n-- Data loss: all rows of\n--   public.users.\n--Why: because\n\n-- Lock: none\n"),
    ).toEqual({ Phase: "2", "Data loss": "all rows of public.users.", Why: "because" });
  });

  test("passes over comments before the first key, and text without any", () => {
    expect(parseHeader("-- plain words\n-- Why: it\nselect 1; -- Phase: 3")).toEqual({ Why: "it" });
    expect(parseHeader("select 1;")).toEqual({});
    expect(parseHeader("-- Why: ends without a line break")).toEqual({ Why: "ends without a line break" });
  });
});

test("parsePhase takes the four phases and nothing else", () => {
  expect(["1", " 4 ", "0", "5", "1.0", "", undefined].map(parsePhase)).toEqual([
    1,
    4,
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
