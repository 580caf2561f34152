import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readMigrations } from "../../migrate/chain/files.ts";
import { LOCK_MODES, locksOf, strongest } from "../../migrate/plan/locks.ts";
import { isSyntaxProblem, loadParser, type SqlParser } from "../../migrate/chain/parse.ts";
import { planMigrations } from "../../migrate/plan/plan.ts";
import { applyMigrations } from "../../migrate/run/runner.ts";
import { readCatalogue } from "../helpers/catalogue.ts";

const SCHEMA = `
create schema audit;
create type public.status as enum ('old');
create table public.users (id bigint primary key, name text, age int, constraint age_check check (age > 0));
create table audit.mails (id bigint primary key, user_id bigint, name text unique);
alter table audit.mails add constraint mails_fk foreign key (user_id) references public.users (id) not valid;
create index users_name_idx on public.users (name);
create table public.logs (at date not null) partition by range (at);
create table public.logs_1 partition of public.logs for values from ('2026-01-01') to ('2026-02-01');
create table public.logs_2 (at date not null);
create view public.names as select name from public.users;
create materialized view public.totals as select count(*) as total from public.users;
create unique index totals_idx on public.totals (total);
create sequence public.numbers;
create function public.touch() returns trigger language plpgsql as 'begin return new; end';
create trigger users_touch before update on public.users for each row execute function public.touch();
create policy users_own on public.users using (true);
create rule mails_log as on insert to audit.mails do also select 1;
create statistics public.users_stats on name, age from public.users;
`;

/** One of each kind of statement that a migration may hold; all of them run. */
const STATEMENTS = [
  "select 1 from public.users",
  "select 1 from public.users for update",
  "with users as (select 1) select * from users",
  "insert into public.users (id) select id from audit.mails",
  "insert into public.users (id) values (1) on conflict do nothing",
  "update public.users set name = 'x' from audit.mails where mails.id = users.id",
  "delete from public.users using audit.mails where mails.id = users.id and false",
  "merge into public.users using audit.mails on users.id = mails.id when matched then do nothing",
  "with gone as (delete from audit.mails returning id) select * from gone",
  "truncate audit.mails",
  "lock table public.users in share mode",
  "create table public.new (id bigint)",
  "create table public.new (id bigint references public.users (id))",
  "create table public.new (id bigint, foreign key (id) references audit.mails (id))",
  "create table public.new (like public.users including all)",
  "create table public.new partition of public.logs for values from ('2026-03-01') to ('2026-04-01')",
  "create table public.new as select * from public.users",
  "create view public.new as select * from public.users",
  "create or replace view public.names as select name from public.users",
  "create materialized view public.new as select * from public.users",
  "refresh materialized view public.totals",
  "refresh materialized view concurrently public.totals",
  "create index on public.users (age)",
  "create unique index on audit.mails (user_id)",
  "drop index public.users_name_idx",
  "alter index public.users_name_idx rename to users_title_idx",
  "reindex table public.users",
  "reindex index public.users_name_idx",
  "drop table public.logs_2",
  "drop view public.names",
  "drop materialized view public.totals",
  "drop sequence public.numbers",
  "alter sequence public.numbers restart",
  "alter table public.users add column mail text",
  "alter table public.users add column other bigint references audit.mails (id)",
  "alter table public.users drop column age",
  "alter table public.users alter column age type bigint",
  "alter table public.users alter column age set default 1",
  "alter table public.users alter column name set not null",
  "alter table public.users alter column age set statistics 100",
  "alter table public.users alter column age set (n_distinct = 5)",
  "alter table public.users alter column name set storage external",
  "alter table public.users set (fillfactor = 70)",
  "alter table public.users reset (fillfactor)",
  "alter table public.users add constraint users_name_check check (name <> '') not valid",
  "alter table public.users add constraint users_age_key unique (age)",
  "alter table public.users add constraint users_fk foreign key (id) references audit.mails (id) not valid",
  "alter table public.users validate constraint age_check",
  "alter table public.users drop constraint age_check",
  "alter table public.users disable trigger users_touch",
  "alter table public.users enable row level security",
  "alter table public.users cluster on users_pkey",
  "alter table public.users owner to current_user",
  "alter table public.users rename to people",
  "alter table public.users rename column name to title",
  "alter table public.users set schema audit",
  "alter table public.users replica identity full",
  "alter table public.logs attach partition public.logs_2 for values from ('2026-05-01') to ('2026-06-01')",
  "alter table public.logs detach partition public.logs_1",
  "alter view public.names set (security_barrier = true)",
  "cluster public.users using users_pkey",
  "analyze public.users",
  "create trigger t after insert on public.users for each row execute function public.touch()",
  "create constraint trigger t after insert on public.users from audit.mails for each row execute function public.touch()",
  "drop trigger users_touch on public.users",
  "alter trigger users_touch on public.users rename to touch_users",
  "create policy p on public.users using (true)",
  "alter policy users_own on public.users using (false)",
  "drop policy users_own on public.users",
  "create rule r as on delete to public.users do also select 1",
  "drop rule mails_log on audit.mails",
  "create statistics public.more_stats on id, age from public.users",
  "comment on table public.users is 'x'",
  "comment on column public.users.name is 'x'",
  "comment on constraint age_check on public.users is 'x'",
  "comment on trigger users_touch on public.users is 'x'",
  "comment on view public.names is 'x'",
  "comment on materialized view public.totals is 'x'",
  "comment on index public.users_name_idx is 'x'",
  "comment on function public.touch() is 'x'",
  "grant select on public.users to public",
  "alter type public.status add value 'new'",
  "create function public.f() returns bigint language sql as 'select count(*) from public.users'",
  "alter function public.touch() set search_path = ''",
  "alter default privileges in schema public grant select on tables to public",
];

let database: string;
let admin: Client;
let client: Client;
let parser: SqlParser;
let folder: string;

beforeAll(async () => {
  const url = process.env["AIWDB_TEST_ADMIN_URL"];
  if (!url) throw new Error("AIWDB_TEST_ADMIN_URL is not set: the URL of a superuser of a PostgreSQL 16");
  parser = await loadParser();
  admin = new Client({ connectionString: url });
  await admin.connect();
  database = `plan_${randomBytes(6).toString("hex")}`;
  await admin.query(`create database ${database}`);
  const own = new URL(url);
  own.pathname = `/${database}`;
  client = new Client({ connectionString: own.href });
  await client.connect();
  await client.query(SCHEMA);
  folder = mkdtempSync(join(tmpdir(), "plan-"));
});
afterAll(async () => {
  await client.end();
  await admin.query(`drop database ${database} with (force)`);
  await admin.end();
  rmSync(folder, { recursive: true });
});

const strength = (mode: string) => LOCK_MODES.indexOf(mode as (typeof LOCK_MODES)[number]);

/**
 * The strongest lock the server holds on each relation that was there before, while the statement's transaction is
 * open.
 */
async function heldAfter(sql: string): Promise<Map<string, string>> {
  await client.query("begin; set local search_path = ''");
  const before = await client.query<{ oid: number; name: string }>(
    `select pg_class.oid, case nspname when 'public' then '' else nspname || '.' end || relname as name
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname in ('public', 'audit') and relkind in ('r', 'p', 'v', 'm', 'S')`,
  );
  try {
    await client.query(sql);
    const { rows } = await client.query<{ relation: number; mode: string }>(
      "select relation, mode from pg_locks where pid = pg_backend_pid() and locktype = 'relation'",
    );
    const held = new Map<string, string>();
    for (const { oid, name } of before.rows) {
      const modes = rows
        .filter(({ relation }) => relation === oid)
        // AccessExclusiveLock -> ACCESS EXCLUSIVE
        .map(({ mode }) =>
          mode
            .replace(/Lock$/, "")
            .replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ")
            .toUpperCase(),
        );
      const strongest = modes.toSorted((a, b) => strength(b) - strength(a))[0];
      if (strongest !== undefined) held.set(name, strongest);
    }
    return held;
  } finally {
    await client.query("rollback");
  }
}

describe("locksOf", () => {
  const INDEX_TABLES: Readonly<Record<string, string>> = { users_name_idx: "users" };

  test.each(STATEMENTS)("agrees with the server: %s", async (sql) => {
    const parsed = parser(sql);
    if (isSyntaxProblem(parsed)) throw new Error(parsed.message);
    const told = new Map(
      strongest(locksOf(parsed[0]!.node).locks).map(({ relation, mode }) => [INDEX_TABLES[relation] ?? relation, mode]),
    );
    const held = await heldAfter(sql);
    const weak = new Set(["ACCESS SHARE"]);
    // ACCESS SHARE beyond what is told waits only for ACCESS EXCLUSIVE, and comes from looking things up (views,
    // partitions).
    const relevant = (locks: Map<string, string>) =>
      Object.fromEntries([...locks].filter(([, mode]) => !weak.has(mode)).toSorted());
    expect(relevant(told)).toEqual(relevant(held));
  });

  test("names every foreign key that one statement drops, whatever else it does", () => {
    const parsed = parser("alter table public.a add column b int, drop constraint c, drop constraint d");
    if (isSyntaxProblem(parsed)) throw new Error(parsed.message);
    expect(locksOf(parsed[0]!.node).locks.map(({ dropsForeignKeys }) => dropsForeignKeys)).toEqual([
      undefined,
      "c",
      "d",
    ]);
  });
});

/** Everything a plan could change: the whole catalogue, rows of every relation by number and version, and sequences. */
async function stateOf(from: Client): Promise<unknown> {
  const { rows: relations } = await from.query<{ name: string }>(
    `select oid::regclass::text as name from pg_class
     where relkind in ('r', 'm') and relnamespace in ('public'::regnamespace, 'audit'::regnamespace) order by 1`,
  );
  const contents: Record<string, unknown> = {};
  for (const { name } of relations) {
    const { rows } = await from.query(
      `select count(*), md5(string_agg(xmin::text || xmax::text || entry::text, ',' order by ctid)) from ${name} as entry`,
    );
    contents[name] = rows[0];
  }
  expect(relations.length).toBeGreaterThan(5);
  const sequences = await from.query("select schemaname, sequencename, last_value from pg_sequences order by 1, 2");
  return { catalogue: await readCatalogue(from), contents, sequences: sequences.rows };
}

describe("planMigrations", () => {
  test("tells pending statements with locks and sizes, and changes nothing", async () => {
    const write = (name: string, sql: string) => {
      writeFileSync(join(folder, `${name}.up.sql`), `-- Phase: 1\n-- Lock: short.\n${sql}\n`);
      writeFileSync(join(folder, `${name}.down.sql`), "select 1;\n");
    };
    write("0001_add_rows", "insert into public.users (id) select generate_series(1, 1000); analyze public.users;");
    await applyMigrations({ client, folder, migrations: readMigrations(folder), direction: "up", report: () => {} });
    write(
      "0002_add_index",
      "create index users_age_idx on public.users (age);\n\ncreate table public.more (id bigint references public.users (id));\n" +
        "drop index public.users_name_idx;\ndo $$ begin end $$;\nalter table public.logs alter at drop not null;\n" +
        "alter table audit.mails drop constraint mails_fk;",
    );
    write("0003_add_more", "alter table public.more add column name text;");
    const before = await stateOf(client);
    const plan = await planMigrations(client, readMigrations(folder));
    expect(await stateOf(client)).toEqual(before);
    expect(plan.held).toMatchObject([
      { relation: "users", mode: "ACCESS EXCLUSIVE", since: "0002_add_index" },
      { relation: "logs", mode: "ACCESS EXCLUSIVE", since: "0002_add_index" },
      { relation: "audit.mails", mode: "ACCESS EXCLUSIVE", since: "0002_add_index" },
    ]);
    const users = { bytes: expect.any(Number), rows: 1000 };
    expect(plan).toMatchObject({
      applied: 1,
      pending: [
        {
          name: "0002_add_index",
          phase: 1,
          lock: "short.",
          statements: [
            {
              file: "0002_add_index.up.sql",
              line: 3,
              sql: "create index users_age_idx on public.users (age)",
              locks: [{ relation: "users", mode: "SHARE", size: users }],
              work: "reads all rows",
            },
            { line: 5, locks: [{ relation: "users", mode: "SHARE ROW EXCLUSIVE", size: users }] },
            { line: 6, locks: [{ relation: "users", mode: "ACCESS EXCLUSIVE", size: users }] },
            { line: 7, locks: [], opaque: true },
            { line: 8, locks: [{ relation: "logs", mode: "ACCESS EXCLUSIVE", size: { bytes: 0, rows: undefined } }] },
            {
              line: 9,
              locks: [
                { relation: "audit.mails", mode: "ACCESS EXCLUSIVE" },
                { relation: "users", mode: "ACCESS EXCLUSIVE", size: users },
              ],
            },
          ],
        },
        {
          name: "0003_add_more",
          statements: [{ locks: [{ relation: "more", mode: "ACCESS EXCLUSIVE", size: undefined }] }],
        },
      ],
    });
    expect(plan.pending[0]?.statements[0]?.locks[0]?.size?.bytes).toBeGreaterThan(50_000);
  });

  test("warns of statements that keep writers out while a large table is read or rewritten", async () => {
    await client.query(
      "create table public.large (id int, filler text); alter table public.large alter filler set storage plain",
    );
    await client.query("insert into public.large select n, repeat('x', 7000) from generate_series(1, 300) n");
    writeFileSync(
      join(folder, "0004_change_large.up.sql"),
      "-- Phase: 1\ncreate index on public.large (id);\nalter table public.large alter id type bigint;\n" +
        "alter table public.large add column more text;\ncreate index on public.users (id);",
    );
    writeFileSync(join(folder, "0004_change_large.down.sql"), "select 1;");
    const { warnings } = await planMigrations(client, readMigrations(folder), { largeMiB: 1 });
    expect(warnings).toEqual([
      expect.stringMatching(/^0004_change_large\.up\.sql:2 reads all rows under SHARE on large, \d+ MiB: writers wait/),
      expect.stringMatching(
        /^0004_change_large\.up\.sql:3 rewrites the table under ACCESS EXCLUSIVE on large, \d+ MiB/,
      ),
    ]);
  });

  test("runs in a read only transaction and leaves it", async () => {
    const seen: string[] = [];
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((...args: unknown[]) => {
      seen.push(String(args[0]));
      return query(...args);
    }) as typeof client.query;
    await planMigrations(client, readMigrations(folder));
    client.query = query as typeof client.query;
    expect(seen[0]).toMatch(/^begin isolation level repeatable read read only;/);
    expect(seen.at(-1)).toBe("rollback");
    expect((await client.query("select now() = statement_timestamp() as alone")).rows).toEqual([{ alone: true }]);
  });
});
