import { expect, test } from "vitest";
import { pgDumpArguments } from "../../database/backup/arguments.ts";
import { UsageError } from "../../base/errors.ts";

test("what says which part of the database is dumped, and how, goes to pg_dump, each as one word", () => {
  const given = ["-t", "public.users", "--exclude-table-data=audit.*", "-Ox", "--section", "data", "-Z9", "-n", "a b"];
  expect(pgDumpArguments(given)).toEqual([
    "--table=public.users",
    "--exclude-table-data=audit.*",
    "--no-owner",
    "--no-privileges",
    "--section=data",
    "--compress=9",
    "--schema=a b",
  ]);
  expect(pgDumpArguments(["--table=--file=/tmp/x", "--schema-only"])).toEqual([
    "--table=--file=/tmp/x",
    "--schema-only",
  ]);
  expect(pgDumpArguments([])).toEqual([]);
});

test.each([
  ["--file=/tmp/x"],
  ["-f", "/tmp/x"],
  ["-f/tmp/x"],
  ["--dbname=postgres"],
  ["-d", "host=192.0.2.1"],
  ["-h", "192.0.2.1"],
  ["--host=192.0.2.1"],
  ["-U", "app_user"],
  ["--role=app_user"],
  ["-W"],
  ["--format=directory"],
  ["-Fd"],
  ["--jobs=2"],
  ["--snapshot=1"],
  ["another_database"],
  ["--", "another_database"],
  ["--tab=users"],
  ["-Of/tmp/x"],
  ["--table"],
  ["--clean=yes"],
])("nothing else does: %s %s", (...args) => {
  expect(() => pgDumpArguments(args)).toThrow(UsageError);
});
