import { Socket } from "node:net";
import { runner as nodePgMigrate } from "node-pg-migrate";
import { describe, expect, test } from "vitest";
import { readApplied } from "../../migrate/run/applied.ts";
import { failureOf, MigrationDatabase } from "../helpers/migration-database.ts";

const database = new MigrationDatabase();

async function roundTripsOfUp(): Promise<number> {
  let queries = 0;
  const query = database.client.query.bind(database.client) as (...args: unknown[]) => unknown;
  database.client.query = ((...args: unknown[]) => {
    queries++;
    return query(...args);
  }) as typeof database.client.query;
  await database.up();
  database.client.query = query as typeof database.client.query;
  return queries;
}

describe("applying", () => {
  test("a file means the same whatever the database, or its role, has set for every session", async () => {
    await database.admin.query(`alter database ${database.name} set standard_conforming_strings = off`);
    await database.admin.query(`alter database ${database.name} set transform_null_equals = on`);
    database.client = await database.open();
    for (const name of ["0001_create_first", "0002_create_second"]) {
      const table = name.slice("0001_create_".length);
      database.write(
        name,
        `create table ${table} (word text check (word ~ '^\\d+$'), number int check ((number = null) is null));`,
      );
    }
    await database.up();
    await database.client.query("set standard_conforming_strings = on"); // shows what is stored as it was written
    const { rows } = await database.client.query<{ found: string }>(
      "select pg_get_constraintdef(oid) as found from pg_constraint where contype = 'c' and conrelid in ('first'::regclass, 'second'::regclass) order by conrelid::regclass::text, conname",
    );
    const [number, word] = ["CHECK (((number = NULL::integer) IS NULL))", "CHECK ((word ~ '^\\d+$'::text))"];
    expect(rows.map(({ found }) => found)).toEqual([number, word, number, word]);
  });

  test("applies what is pending in order, records a checksum each, and does nothing the second time", async () => {
    database.writeThree();
    expect(await database.up()).toEqual({ applied: ["0001_create_users", "0002_create_mails", "0003_add_name"] });
    expect(database.lines).toEqual([
      "applying 0001_create_users",
      "applying 0002_create_mails",
      "applying 0003_add_name",
    ]);
    expect(await readApplied(database.client)).toEqual(
      database.files().map(({ name, checksum }) => ({ name, checksum })),
    );
    expect(await database.up()).toEqual({ applied: [] });
    expect(await database.heldAdvisoryLocks()).toBe(0);
  });

  test("goes up to the last of the given migrations and no further", async () => {
    database.writeThree();
    expect(await database.up(2)).toEqual({ applied: ["0001_create_users", "0002_create_mails"] });
    expect(await database.up(3)).toEqual({ applied: ["0003_add_name"] });
  });

  test("needs two round trips for each migration and a fixed number besides", async () => {
    database.writeThree();
    const first = await roundTripsOfUp();
    for (let number = 4; number <= 23; number++)
      database.write(`00${String(number).padStart(2, "0")}_add_nothing`, "select 1;");
    expect([first, await roundTripsOfUp(), await roundTripsOfUp()]).toEqual([2 * 3 + 7, 2 * 20 + 8, 3]);
  });

  test("takes over a database that node-pg-migrate's own program migrated, and fills the checksums", async () => {
    database.writeThree();
    await nodePgMigrate({
      dbClient: database.client,
      dir: database.folder,
      migrationsTable: "pgmigrations",
      direction: "up",
      count: 2,
      migrationLoaderStrategies: [{ extensions: [".sql"], loader: "sql" }],
      log: () => {},
    });
    expect(await readApplied(database.client)).toMatchObject([{ checksum: null }, { checksum: null }]);
    expect(await database.up()).toEqual({ applied: ["0003_add_name"] });
    expect(await readApplied(database.client)).toEqual(
      database.files().map(({ name, checksum }) => ({ name, checksum })),
    );
  });

  test("goes on after the server's clock went back", async () => {
    database.writeThree();
    await database.up(1);
    await database.client.query("update public.pgmigrations set run_on = run_on + interval '1 day'");
    await database.up(2);
    expect(await database.up(3)).toEqual({ applied: ["0003_add_name"] });
    expect(await database.down(1)).toEqual({ applied: ["0003_add_name"] });
  });

  test("leaves the database as it was when the third of five files fails, and goes on when it is corrected", async () => {
    database.writeThree();
    database.write(
      "0003_add_name",
      "select 'ü😀';\nselect 1;\n\n  alter table public.user\n  add name text;\nselect 2;",
    );
    database.write("0004_add_more", "create table public.more ();", "drop table public.more;");
    database.write("0005_add_most", "create table public.most ();", "drop table public.most;");
    const error = await failureOf(database.up());
    expect(error.message).toBe(
      [
        `0003_add_name.up.sql:5: relation "public.user" does not exist [SQLSTATE 42P01]`,
        "- statement: alter table public.user\n  add name text",
        "- database: nothing was changed, as all migrations of a run are one transaction.",
        "  Correct the cause and run the command again.",
      ].join("\n"),
    );
    expect(await database.tables()).toEqual([]);
    expect(await database.heldAdvisoryLocks()).toBe(0);
    database.write("0003_add_name", "alter table public.users add name text;");
    expect((await database.up()).applied).toHaveLength(5);
  });

  test("names the line of a syntax error behind characters of four bytes", async () => {
    database.write("0001_create_users", "select '😀😀';\n\ncreate tabel public.users ();");
    expect((await failureOf(database.up())).message).toMatch(
      /^0001_create_users\.up\.sql:4: syntax error at or near "tabel" \[SQLSTATE 42601\]\n- statement: create tabel public\.users \(\)\n/,
    );
  });

  test("names the statement that failed at run time, where the server gives no position", async () => {
    database.write(
      "0001_create_users",
      "create table public.users (id int primary key);\ninsert into public.users values (1);\n-- twice\ninsert into public.users\nvalues (1);",
    );
    const error = await failureOf(database.up());
    expect(error.message).toMatch(/^0001_create_users\.up\.sql:5: duplicate key value violates unique constraint/);
    expect(error.problems.map(({ subject, problem }) => `${subject}: ${problem}`)).toEqual([
      "statement: insert into public.users\nvalues (1)",
      "detail: Key (id)=(1) already exists.",
      "database: nothing was changed, as all migrations of a run are one transaction.",
    ]);
  });

  test("shows which column was refused, and not the row, which may have hashes in it", async () => {
    database.write(
      "0001_create_users",
      "create table public.users (name text not null, hash text check (hash <> ''));\ninsert into public.users values ('a', 'secret-of-a-row');",
    );
    await database.up();
    database.write("0002_change_users", "update public.users set name = null;");
    const missing = await failureOf(database.up());
    expect(missing.message).toMatch(/null value in column "name" of relation "users" violates not-null constraint/);
    database.write("0002_change_users", "insert into public.users select hash, '' from public.users;");
    const broken = await failureOf(database.up());
    expect(broken.message).toMatch(/violates check constraint "users_hash_check"/);
    for (const error of [missing, broken]) {
      expect(`${error.message} ${JSON.stringify(error.problems)}`).not.toMatch(/secret-of-a-row|Failing row/);
    }
  });

  test("shows the lost connection when it breaks in mid migration, and nothing stays", async () => {
    database.write(
      "0001_create_users",
      "create table public.users ();\nselect pg_terminate_backend(pg_backend_pid());\nselect 1;",
    );
    const error = await failureOf(database.up());
    expect(error.message).toMatch(/^0001_create_users\.up\.sql:3: terminating connection due to administrator command/);
    database.client = await database.open();
    expect(await database.tables()).toEqual([]);
    expect(await database.heldAdvisoryLocks()).toBe(0);
  });

  test("lets go of everything within seconds when the migrator is killed in mid statement", async () => {
    database.write("0001_create_users", "create table public.users ();\nselect pg_sleep(60);");
    const socket = new Socket();
    const killed = await database.open(() => socket);
    const running = failureOf(database.up(1, killed));
    await expect.poll(() => database.heldAdvisoryLocks()).toBe(1);
    socket.destroy(); // what the kernel does to the sockets of a process that gets SIGKILL
    await running;
    await expect.poll(() => database.heldAdvisoryLocks()).toBe(0);
    database.write("0001_create_users", "create table public.users ();");
    expect((await database.up()).applied).toEqual(["0001_create_users"]);
  });

  test("gives every file the same settings, whatever the ones before it set", async () => {
    database.write(
      "0002_show_settings",
      "create table public.settings as select name, setting from pg_settings where name in ('lock_timeout', 'search_path', 'work_mem');",
    );
    const { rows: before } = await database.client.query("show work_mem");
    database.write("0001_set_settings", "set local lock_timeout = 0; set search_path = ''; set work_mem = '1MB';");
    await database.up();
    const { rows } = await database.client.query("select * from public.settings order by name");
    expect(rows).toEqual([
      { name: "lock_timeout", setting: "500" },
      { name: "search_path", setting: "public" },
      { name: "work_mem", setting: expect.not.stringMatching(/^1024$/) },
    ]);
    expect((await database.client.query("show work_mem")).rows).toEqual(before);
    expect((await database.client.query("show lock_timeout")).rows).toEqual([{ lock_timeout: "0" }]);
  });

  test("refuses commit in a file before anything runs", async () => {
    database.write("0001_create_users", "create table public.users ();\nCommit;\nselect 1;");
    expect((await failureOf(database.up())).message).toContain(
      "- 0001_create_users.up.sql:3: `Commit` would end the transaction",
    );
    expect(await database.tables()).toEqual([]);
  });

  test("refuses commit behind a function body whose column is called case", async () => {
    const body = 'begin atomic select t.case from (select 1) t ("case"); end';
    database.write("0001_create_function", `create function public.one() returns int ${body};\ncommit;\nselect 1;`);
    expect((await failureOf(database.up())).message).toContain("- 0001_create_function.up.sql:3: `commit` would end");
  });

  test("takes function bodies with begin and end", async () => {
    database.write(
      "0001_create_functions",
      "create function public.one() returns int begin atomic select 1; select case when true then 2 end; end;\n" +
        'create function public.two() returns int begin atomic select t.end from (select 1) t ("end"); select 2; end;\n' +
        "do $$ begin perform 1; end $$;",
    );
    expect((await database.up()).applied).toHaveLength(1);
  });
});
