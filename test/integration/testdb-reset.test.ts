import { describe, expect, onTestFinished, test } from "vitest";
import { takeFingerprint } from "../../testing/pool/reset.ts";
import type { TestDatabase } from "../../testing/databases/test-database.ts";
import { readCatalogue } from "../helpers/catalogue.ts";
import { addUser, localServer, users } from "../helpers/local-server.ts";
import { until } from "../helpers/testdb.ts";

const NAME = `ci-te${process.pid}`;
const local = localServer(NAME);
const { held, take } = local;

describe("reset", () => {
  const fingerprintOf = async (db: TestDatabase) => {
    const admin = await db.connect("postgres");
    const { xid: _, ...rest } = await takeFingerprint(admin);
    await admin.end();
    return rest;
  };

  test("leaves tables, sequences, settings, locks and prepared statements as they were", async () => {
    const db = await take({ connect: true });
    const before = await fingerprintOf(db);
    await local.registry.workers.query(`grant temporary on database ${db.name} to app_user`);
    await db.client!.query({ name: "mine", text: "select 1" });
    await db.client!.query("set work_mem = '1MB'; select pg_advisory_lock(7); create temporary table mine ()");
    await addUser(db.client!);
    await addUser(db.client!, "bob");
    await db.reset();
    // Temporary tables leave a schema behind, so that this one is a new copy.
    const after = await fingerprintOf(db);
    expect(after).toEqual(before);
    const { rows } = await db.client!.query(
      `select current_setting('work_mem') <> '1MB' as setting, to_regclass('mine') is null as no_table,
              (select count(*)::integer from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
              (select count(*)::integer from pg_prepared_statements) as statements`,
    );
    expect(rows).toEqual([{ setting: true, no_table: true, locks: 0, statements: 0 }]);
    expect(await users(db.client!)).toEqual([]);
    await db.drop();
  });

  test("gives app_user temporary tables where the stack's own database does", async () => {
    const db = await take({ connect: true });
    const change = (sql: string) => local.registry.workers.query(`${sql} app_user`);
    await change(`grant temporary on database ${local.server.database} to`);
    onTestFinished(async () => void (await change(`revoke temporary on database ${local.server.database} from`)));
    await expect(db.client!.query("create temporary table mine ()")).rejects.toMatchObject({ code: "42501" });
    // Whenever a database is given back, the server's roles are put back too, and the grant with them: it may have to
    // be given again.
    const afterReset = async () => {
      await change(`grant temporary on database ${local.server.database} to`);
      await (await db.connect("ai_workflow_owner")).query("create table public.changed ()");
      await db.reset(); // makes it anew
      return db.client!.query("create temporary table mine ()").then(
        () => "made",
        (error: { code?: string }) => error.code,
      );
    };
    await expect.poll(afterReset).toBe("made");
  });

  test("makes a connection that stays forget what it had set, locked, prepared and begun", async () => {
    const db = await take({ connect: true });
    const { client } = db;
    await client!.query({ name: "mine", text: "select 1 as one" });
    await client!.query("set work_mem = '1MB'; listen mine; select pg_advisory_lock(7)");
    await client!.query("begin");
    await addUser(client!);
    await db.reset();
    expect(db.client).toBe(client);
    const { rows } = await client!.query(
      `select current_setting('work_mem') <> '1MB' as setting, pg_current_xact_id_if_assigned() is null as no_transaction,
              (select count(*)::integer from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
              (select count(*)::integer from pg_listening_channels()) as channels,
              (select count(*)::integer from pg_prepared_statements) as statements`,
    );
    expect(rows).toEqual([{ setting: true, no_transaction: true, locks: 0, channels: 0, statements: 0 }]);
    expect((await client!.query({ name: "mine", text: "select 1 as one" })).rows).toEqual([{ one: 1 }]);
    expect(await users(client!)).toEqual([]);
    await db.drop();
  });

  test("and a second life leave every object, right, row and sequence as in a new copy", async () => {
    const never = await take();
    const fresh = await contentsOf(never);
    expect(fresh.length).toBeGreaterThan(1_000);
    const used = async (db: TestDatabase) => {
      const admin = await db.connect("postgres");
      await addUser(admin);
      await admin.query(
        "insert into public.tasks (user_id, title) select id, 'a task' from public.users; select setval(pg_get_serial_sequence('public.users', 'id'), 77)",
      );
      await admin.end();
    };
    const db = await take();
    await used(db);
    expect(await contentsOf(db)).not.toEqual(fresh);
    await db.reset();
    expect(await contentsOf(db)).toEqual(fresh);
    await used(db);
    await db.drop();
    await until(held, (databases) => databases.every(({ name }) => name === never.name));
    // The emptied one is among those that are ready now.
    const again = await Promise.all(Array.from({ length: 4 }, () => take()));
    for (const each of again) expect(await contentsOf(each)).toEqual(fresh);
    await Promise.all([never, ...again].map((each) => each.drop()));
  });

  /** Objects and rights as other tests read them, rows and sequences; nothing of what a reset itself looks at. */
  async function contentsOf(db: TestDatabase): Promise<string[]> {
    const admin = await db.connect("postgres");
    const catalogue = await readCatalogue(admin as never);
    const { rows: tables } = await admin.query<{ name: string }>(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname !~ '^pg_' and schemaname <> 'information_schema' order by 1",
    );
    const rowsOf = tables.map(
      ({ name }) =>
        `select '${name}' || coalesce(string_agg(row::text, ';' order by row::text), '') as line from only ${name} as row`,
    );
    const { rows } = await admin.query<{ line: string }>(
      `${rowsOf.join(" union all ")} union all select sequencename || coalesce(last_value, 0) from pg_sequences order by 1`,
    );
    await admin.end();
    return [...catalogue, ...rows.map(({ line }) => line)];
  }

  test("keeps the connection where only rows changed, and numbers begin where they began", async () => {
    const db = await take({ connect: true });
    const { client } = db;
    for (let turn = 0; turn < 3; turn++) {
      await client!.query({
        name: "insert",
        text: "insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')",
      });
      expect((await client!.query("select id from users")).rows).toEqual([{ id: 1 }]);
      await db.reset();
      expect(db.client).toBe(client);
      expect(await users(client!)).toEqual([]);
    }
    await db.drop();
  });

  test.each([
    ["a new table", "create table public.extra ()"],
    ["a dropped index", "drop index if exists public.ix_users_username"],
    ["another right", "grant select on public.users to app_monitor"],
    ["a changed row of the template", "update public.pgmigrations set run_on = run_on where id = 1"],
    ["a deleted row of the template", "delete from public.data_retention_policies"],
    [
      "a setting of the database",
      "do $$ begin execute format('alter database %I set work_mem = ''1MB''', current_database()); end $$",
    ],
  ])("makes the database anew after %s", async (_what, sql) => {
    const db = await take();
    const before = await fingerprintOf(db);
    const owner = await db.connect("postgres");
    await owner.query(sql);
    expect(await fingerprintOf(db)).not.toEqual(before);
    await db.reset();
    expect(await fingerprintOf(db)).toEqual(before);
    await db.drop();
  });
});
