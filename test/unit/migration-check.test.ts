import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { compareWithBase } from "../../migrate/check/base.ts";
import { checkError, checkMigrations } from "../../migrate/check/check.ts";
import { readMigrations } from "../../migrate/chain/files.ts";
import { findEnumHazards, findHazards, type ParsedMigrationFile } from "../../migrate/check/hazards.ts";
import { isSyntaxProblem, loadParser, type SqlParser, textBetweenSemicolons } from "../../migrate/chain/parse.ts";
import { lineAt } from "../../migrate/chain/places.ts";

const HEADER = "-- Phase: 1\n-- Why: test.\n-- Lock: none.\n";
const chain = fileURLToPath(new URL("../../migrations", import.meta.url));

let parser: SqlParser;
let folder: string;

beforeAll(async () => {
  parser = await loadParser();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "check-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, up = "select 1;", down = "select 1;"): void {
  mkdirSync(join(folder, "migrations"), { recursive: true });
  writeFileSync(join(folder, "migrations", `${name}.up.sql`), `${HEADER}${up}\n`);
  writeFileSync(join(folder, "migrations", `${name}.down.sql`), `${down}\n`);
}

function parse(sql: string, file = "0001_test.up.sql", header: Record<string, string> = {}): ParsedMigrationFile {
  const statements = parser(sql);
  if (isSyntaxProblem(statements)) throw new Error(statements.message);
  const direction = file.endsWith(".down.sql") ? "down" : "up";
  return { file, direction, header: { Why: "test", Lock: "none", ...header }, statements };
}

function rulesIn(sql: string, file?: string, header?: Record<string, string>): string[] {
  return findHazards(parse(sql, file, header)).map(({ rule }) => rule);
}

describe("checkMigrations", () => {
  test("is silent on the package's own chain", async () => {
    // A copy outside the repository: what is edited just now is not this test's concern.
    cpSync(chain, join(folder, "migrations"), { recursive: true });
    const { findings } = await checkMigrations({ folder: join(folder, "migrations") });
    expect(checkError(chain, findings)?.message).toBeUndefined();
  });

  test("gives file, line and column of a syntax error, and goes on with the other files", async () => {
    write("0001_create_users", "select 'ü😀';\n\n  creat table public.users ();", "commit;");
    write("0002_create_mails", "create table mails (id bigint primary key);", "drop table public.mails;");
    const { findings, files } = await checkMigrations({ folder: join(folder, "migrations") });
    expect(files).toBe(4);
    expect(findings.map(({ file, line, column, rule }) => `${file}:${line}:${column} ${rule}`)).toEqual([
      "0001_create_users.down.sql:1:1 transaction-control",
      "0001_create_users.down.sql:1:1 transaction-nesting",
      "0001_create_users.up.sql:6:3 syntax",
      "0002_create_mails.down.sql:1:1 data-loss",
      "0002_create_mails.up.sql:4:14 require-table-schema",
    ]);
    expect(checkError("x", findings)?.message).toContain(
      `- 0001_create_users.up.sql:6:3: syntax error at or near "creat" (syntax)`,
    );
  });

  test("reports what is wrong with the chain beside the rest, and says what it did not compare", async () => {
    write("0002_create_users", "vacuum;");
    const { findings, notes } = await checkMigrations({ folder: join(folder, "migrations") });
    expect(findings.map(({ rule }) => rule).sort()).toEqual(["chain", "outside-transaction"]);
    expect(notes).toEqual([expect.stringContaining("not compared with a base branch")]);
  });
});

describe("findHazards", () => {
  test.each([
    "create index concurrently users_name_idx on public.users (name)",
    "drop index concurrently public.users_name_idx",
    "reindex (concurrently) table public.users",
    "reindex schema public",
    "vacuum full public.users",
    "alter system set work_mem = '1GB'",
    "create database app",
    "drop database app",
    "create tablespace fast location '/fast'",
    "drop tablespace fast",
    "alter table public.logs detach partition public.logs_1 concurrently",
    "cluster",
    "discard all",
    "create subscription s connection 'x' publication p",
    "drop subscription s",
  ])("refuses what can't run in a transaction: %s", (sql) => {
    expect(rulesIn(sql)).toEqual(["outside-transaction"]);
  });

  test.each(["begin", "start transaction", "commit", "end", "rollback", "abort", "prepare transaction 'x'"])(
    "refuses transaction control: %s",
    (sql) => {
      expect(rulesIn(sql)).toEqual(["transaction-control"]);
    },
  );

  test.each([
    ["set search_path = ''", "session-setting"],
    ["select pg_catalog.set_config('search_path', '', false)", "session-setting"],
    ["set role app_user", "session-setting"],
    ["reset all", "session-setting"],
    ["create role app_user", "cluster-object"],
    ["drop role app_user", "cluster-object"],
    ["copy public.users from stdin", "copy-from-stdin"],
    ["drop table public.users", "data-loss"],
    ["alter table public.users drop column name", "data-loss"],
    ["drop schema audit cascade", "data-loss"],
    ["drop type public.user_status cascade", "data-loss"],
    ["truncate public.users", "data-loss"],
    ["delete from public.users", "data-loss"],
    ["delete from public.users where id = 1", "data-loss"],
    ["with gone as (delete from public.users returning *) insert into public.old select * from gone", "data-loss"],
    ["update public.users set name = ''", "data-loss"],
    ["alter table public.users add column a int, add b int; update public.users set a = 1, name = ''", "data-loss"],
  ])("refuses %s", (sql, rule) => {
    expect(rulesIn(sql)).toEqual([rule]);
  });

  test.each([
    "create index users_name_idx on public.users (name)",
    "reindex table public.users",
    "analyze public.users",
    "savepoint a; rollback to a; release a",
    "set local search_path = ''; select set_config('a.b', '', true)",
    "create function public.f() returns void language plpgsql as $$begin commit; end$$",
    "create function public.f() returns int begin atomic select 1; select 2; end",
    "create table public.tmp (); drop table public.tmp",
    "create table public.tmp (a int); alter table tmp drop column a",
    "create table public.tmp (a int); delete from tmp; truncate tmp; update tmp set a = 1",
    "update public.users set name = '' where name is null",
    "alter table public.users add column a int; update public.users set a = id",
    "create function public.f() returns void begin atomic delete from public.users; end",
    "create rule r as on delete to public.v do instead delete from public.users",
    "drop view public.v cascade; drop index public.i; drop function public.f()",
    "alter table public.logs detach partition public.logs_1",
    "copy public.users to '/tmp/x'",
  ])("takes %s", (sql) => {
    expect(rulesIn(sql)).toEqual([]);
  });

  test("takes lost data that the header names, in both directions", () => {
    expect(rulesIn("drop table public.users", "0001_x.up.sql", { "Data loss": "all" })).toEqual([]);
    expect(rulesIn("drop table public.users", "0001_x.down.sql", { "Data loss": "all" })).toEqual([]);
    expect(rulesIn("drop table public.users", "0001_x.down.sql")).toEqual(["data-loss"]);
  });

  test("says whose rows are lost, and whether all", () => {
    const messagesOf = (sql: string) =>
      findHazards(parse(sql)).map(({ message }) => message.replace(/ loses data.*/, ""));
    expect(messagesOf("truncate public.a, audit.b")).toEqual(["truncating a", "truncating audit.b"]);
    expect(messagesOf("delete from audit.b")).toEqual(["deleting all rows of audit.b"]);
    expect(messagesOf("delete from audit.b where true")).toEqual(["deleting rows of audit.b"]);
    expect(messagesOf("update audit.b set c = 1, d = 2")).toEqual(["overwriting c, d in every row of audit.b"]);
  });

  test("wants the headers Why and Lock in an up file", () => {
    expect(rulesIn("select 1", "0001_x.up.sql", { Why: "", Lock: "" })).toEqual(["header", "header"]);
    expect(rulesIn("select 1", "0001_x.down.sql", { Why: "", Lock: "" })).toEqual([]);
  });

  test("gives the line and column of the statement, not of the comment before it", () => {
    expect(findHazards(parse("-- 'ü'\nselect 'ü'; /* a */\n\n  commit;"))).toMatchObject([{ line: 4, column: 3 }]);
  });
});

function messages(files: readonly string[], released: readonly string[] = []): string[] {
  const parsed = files.map((sql, index) => parse(sql, `000${index + 1}_test.up.sql`));
  return findEnumHazards(parsed, new Set(released)).map(({ file, message }) => `${file} ${message}`);
}

describe("findEnumHazards", () => {
  const TYPE = "create type public.status as enum ('old'); create table public.users (status public.status);";
  const ADD = "alter type public.status add value 'new' after 'old';";

  test.each([
    "insert into public.users values ('new');",
    "update users set status = 'new';",
    "alter table public.users alter column status set default 'new';",
    "alter table public.users add column other public.status default 'new';",
    "create table public.more (status public.status default 'new');",
    "select 'new'::public.status;",
    "create view public.v as select * from public.users where status = 'new';",
  ])("finds a label added and used in one file: %s", (use) => {
    expect(messages([TYPE, `${ADD} ${use}`])).toEqual([
      "0002_test.up.sql uses label 'new' of status, which this file adds in the same transaction.",
    ]);
  });

  test("finds one used in a later file of the same release, not of a later one", () => {
    const use = "update public.users set status = 'new';";
    expect(messages([TYPE, ADD, use])).toEqual([
      "0003_test.up.sql uses label 'new' of status, which 0002_test.up.sql adds in the same transaction.",
    ]);
    expect(messages([TYPE, ADD, use], ["0001_test.up.sql", "0002_test.up.sql"])).toEqual([]);
  });

  test.each([
    [TYPE, `${ADD} update public.mails set status = 'new';`],
    [TYPE, `${ADD} update public.users set status = 'old';`],
    [`${TYPE} ${ADD} update public.users set status = 'new';`],
    [TYPE, "alter type public.status rename value 'old' to 'new'; update public.users set status = 'new';"],
    [TYPE, `update public.users set status = 'new'; ${ADD}`],
  ])("takes %s %s", (...files) => {
    expect(messages(files)).toEqual([]);
  });
});

const git = (...args: string[]) => {
  const identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"];
  execFileSync("git", [...identity, ...args], { cwd: folder, stdio: "pipe" });
};
const commit = () => {
  git("add", "-A");
  git("commit", "-q", "-m", "test");
};
const compare = (base?: string) => {
  const { findings } = compareWithBase(join(folder, "migrations"), base);
  return findings.map(({ file, rule }) => `${file} ${rule}`);
};

describe("compareWithBase", () => {
  beforeEach(() => {
    git("init", "-q", "-b", "main");
    write("0001_create_users", "select 1;");
    write("0002_create_mails", "select 2;");
    commit();
    git("checkout", "-q", "-b", "work");
  });

  test("takes new files behind the last, changed comments, and changed down files", () => {
    write("0001_create_users", "/* why */ select\n1;", "select 7;");
    write("0003_add_name");
    expect(compare()).toEqual([]);
    expect(compareWithBase(join(folder, "migrations"))).toMatchObject({ base: "main" });
  });

  test("finds an edited, a renamed and a deleted file, committed or not", () => {
    write("0001_create_users", "select 3;");
    renameSync(
      join(folder, "migrations/0002_create_mails.up.sql"),
      join(folder, "migrations/0002_create_letters.up.sql"),
    );
    const expected = [
      "0001_create_users.up.sql file-edited",
      "0002_create_mails.up.sql file-removed",
      "0002_create_letters.up.sql file-inserted",
    ];
    expect(compare()).toEqual(expected);
    commit();
    expect(compare()).toEqual(expected);
  });

  test("finds a number that the base branch has given away meanwhile, without asking for its files", () => {
    write("0003_add_name");
    commit();
    git("checkout", "-q", "main");
    write("0003_add_title");
    commit();
    git("checkout", "-q", "work");
    expect(compare()).toEqual(["0003_add_name.up.sql file-inserted"]);
  });

  test("prefers origin/main, takes the revision asked for, and refuses one that does not exist", () => {
    write("0003_add_name");
    commit();
    git("update-ref", "refs/remotes/origin/main", "HEAD");
    write("0003_add_name", "select 3;");
    expect(compare()).toEqual(["0003_add_name.up.sql file-edited"]);
    expect(compare("main")).toEqual([]);
    expect(() => compare("nowhere")).toThrow("git knows no revision");
    expect(() => compare("--version")).toThrow("git knows no revision");
  });

  test("compares main with origin/main only, as it is merged into nothing else", () => {
    git("checkout", "-q", "main");
    write("0001_create_users", "select 3;");
    expect(compareWithBase(join(folder, "migrations")).base).toBeUndefined();
    expect(compare("main")).toEqual(["0001_create_users.up.sql file-edited"]);
    git("update-ref", "refs/remotes/origin/main", "HEAD");
    expect(compare()).toEqual(["0001_create_users.up.sql file-edited"]);
  });

  test("says so where git refuses to read the repository", () => {
    vi.stubEnv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
    expect(() => compareWithBase(join(folder, "migrations"))).toThrow(/git can't be asked.*dubious ownership/s);
    vi.unstubAllEnvs();
  });

  test("compares nothing outside a repository", () => {
    rmSync(join(folder, ".git"), { recursive: true });
    expect(compareWithBase(join(folder, "migrations"))).toEqual({ base: undefined, findings: [], released: new Set() });
  });
});

describe("statements", () => {
  const statementsOf = (sql: string) => {
    const parsed = parser(sql);
    if (isSyntaxProblem(parsed)) throw new Error(parsed.message);
    return parsed;
  };

  test("of the package's own migrations can each be read on their own, and stand where the file has them", () => {
    for (const { up, down = "" } of readMigrations(chain)) {
      for (const sql of [up, down]) {
        const statements = statementsOf(sql);
        expect(statements.filter(({ text }) => statementsOf(text).length !== 1)).toEqual([]);
        expect(statements.map(({ text }) => text)).toEqual(statements.map(({ start, end }) => sql.slice(start, end)));
      }
    }
  });

  test.each<[string, string[]]>([
    ["select 1; select 2", ["select 1", "select 2"]],
    [";; -- a\n;/* b; */ select ';' ;", ["select ';'"]],
    ["-- 😀\nselect '😀é' -- ü\n;;/* ß */ select 2 -- b", ["select '😀é'", "select 2"]],
    [
      "create rule r as on insert to t do also (select 1; select 2); select 3",
      ["create rule r as on insert to t do also (select 1; select 2)", "select 3"],
    ],
    [
      "create function f() returns int begin atomic select case when a then 1 end; select 2; end; select 3",
      ["create function f() returns int begin atomic select case when a then 1 end; select 2; end", "select 3"],
    ],
    [
      "create function f() returns int begin atomic select t.case, t.end from t; end; commit",
      ["create function f() returns int begin atomic select t.case, t.end from t; end", "commit"],
    ],
    ["do $$ begin; end; $$; begin; end;", ["do $$ begin; end; $$", "begin", "end"]],
    ["", []],
    [" \n", []],
    ["-- nothing\n", []],
  ])("of %j", (sql, texts) => {
    expect(statementsOf(sql).map(({ text }) => text)).toEqual(texts);
  });

  test.each([
    ["select 1; /* a; */ create tabel t (); select 2", 25, "create tabel t ()"],
    ["select 1; selct", 10, "selct"],
    ["select (;", 8, "select ("],
    ["", 0, ""],
  ])("of no SQL are told by semicolons: %j", (sql, offset, text) => {
    expect(textBetweenSemicolons(sql, offset)).toBe(text);
  });

  test("knows lines", () => {
    expect([0, 1, 2, 3].map((offset) => lineAt("a\n\nb", offset))).toEqual([1, 1, 2, 3]);
  });
});
