import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type pg from "pg";
import { asSuperuser, open, query, refusal } from "../helpers/connect.ts";

const DENIED = /42501: /;

describe.each(["direct", "transaction"] as const)("app_user, %s,", (mode) => {
  let client: pg.Client;

  beforeEach(async () => {
    client = await open("app_user", mode);
  });
  afterEach(async () => {
    await client.end();
  });

  test("reads and writes rows of the application's tables", async () => {
    await client.query("begin");
    const { rows } = await client.query(
      "insert into public.users (username, email, hashed_password) values ('privilege_test', 'privilege@example.org', 'x') returning id",
    );
    expect(
      (await client.query("update public.users set email = 'other@example.org' where id = $1", [rows[0].id])).rowCount,
    ).toBe(1);
    expect((await client.query("delete from public.users where id = $1", [rows[0].id])).rowCount).toBe(1);
    await client.query("rollback");
  });

  test.each([
    ["create a table in schema public", "create table public.mine (id int)"],
    ["create a schema", "create schema mine"],
    ["create a temporary table", "create temporary table mine ()"],
    ["create a temporary type", "create domain pg_temp.text as pg_catalog.text"],
    ["create a temporary function", "create function pg_temp.f() returns int language sql return 1"],
    ["create a function in schema public", "create function public.f() returns int language sql return 1"],
    ["change a table", "alter table public.users add column mine int"],
    ["drop a table", "drop table public.users"],
    ["empty a table", "truncate public.users"],
    ["create an index", "create index mine on public.users (email)"],
    ["become the owner", "set role ai_workflow_owner"],
    ["become the superuser", "set role postgres"],
    ["become the pooler's lookup owner", "set role pgbouncer_lookup"],
    ["run a program", "copy (select 1) to program 'id'"],
    ["write a file of the server", "copy (select 1) to '/tmp/x'"],
    ["read a file of the server", "select pg_read_file('/etc/passwd')"],
    ["list a folder of the server", "select pg_ls_dir('/')"],
    ["change the server's settings", "alter system set ssl = off"],
    ["change another role's settings", "alter role app_readonly set search_path = ''"],
    ["create a role", "create role mine"],
    ["create a database", "create database mine"],
    ["read the roles' secrets", "select rolpassword from pg_authid"],
    ["call the pooler's lookup of secrets", "select * from pgbouncer.lookup('app_readonly')"],
    ["reload the server", "select pg_reload_conf()"],
    ["create an extension", "create extension file_fdw"],
    ["create an untrusted language", "create language plpython3u"],
    [
      "end a session of another role",
      "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' or pid = (select min(pid) from pg_stat_activity where usename is distinct from 'app_user' and backend_type = 'checkpointer')",
    ],
    ["see which migrations were applied being changed", "update public.pgmigrations set name = name"],
  ])("may not %s", async (_what, sql) => {
    expect(await refusal(client.query(sql))).toMatch(DENIED);
  });

  test("may not raise itself", async () => {
    expect(await refusal(client.query("alter role app_user superuser"))).toMatch(DENIED);
    expect(await refusal(client.query("grant ai_workflow_owner to app_user"))).toMatch(DENIED);
  });
});

describe("app_readonly", () => {
  test("reads", async () => {
    expect(await query("app_readonly", "transaction", "select count(*)::int as count from public.users")).toEqual([
      { count: expect.any(Number) },
    ]);
  });

  test.each([
    ["insert", "insert into public.users (username, email, hashed_password) values ('x', 'x', 'x')"],
    ["update", "update public.users set email = 'x'"],
    ["delete", "delete from public.users"],
    ["lock a table against writers", "do $$ begin lock table public.users in exclusive mode; end $$"],
    ["create a temporary table", "create temporary table t (i int)"],
    ["store a large object", "set transaction_read_only = off; select lo_from_bytea(0, 'kept')"],
    ["take an advisory lock", "select pg_advisory_lock(1)"],
    ["write into the log of changes", "select pg_logical_emit_message(false, 'x', 'y')"],
    ["use up a transaction number", "select pg_current_xact_id()"],
    ["see what others ran", "select query from pg_stat_statements"],
    ["become app_user", "set role app_user"],
    ["read the roles' secrets", "select rolpassword from pg_authid"],
  ])("may not %s", async (_what, sql) => {
    expect(await refusal(query("app_readonly", "direct", sql))).toMatch(DENIED);
  });

  test("stays read-only when it switches its own safeguard off", async () => {
    const client = await open("app_readonly", "direct");
    await client.query("set default_transaction_read_only = off");
    expect(await refusal(client.query("delete from public.users"))).toMatch(DENIED);
    await client.end();
  });
});

describe("app_monitor", () => {
  const console_ = (sql: string) => query("app_monitor", "transaction", sql, { database: "pgbouncer" });

  test("sees every session and statement of the server, and no row of the application", async () => {
    expect(
      (
        await query(
          "app_monitor",
          "direct",
          "select query from pg_stat_activity where backend_type = 'checkpointer' and pid is not null",
        )
      ).length,
    ).toBe(1);
    expect((await query("app_monitor", "direct", "select calls from pg_stat_statements limit 1")).length).toBe(1);
    expect(await refusal(query("app_monitor", "direct", "select * from public.users"))).toMatch(DENIED);
  });

  test.each([
    ["store a large object", "select lo_from_bytea(0, 'kept')"],
    ["take an advisory lock", "select pg_advisory_lock(1)"],
    ["write into the log of changes", "select pg_logical_emit_message(false, 'x', 'y')"],
    ["forget the statements that ran", "select pg_stat_statements_reset()"],
    ["create a temporary table", "create temporary table mine ()"],
  ])("may not %s", async (_what, sql) => {
    expect(await refusal(query("app_monitor", "direct", sql))).toMatch(DENIED);
  });

  test("sees the pooler's statistics", async () => {
    expect((await console_("show pools")).map(({ database }) => database)).toContain("ai_workflow_db");
    expect((await console_("show stats")).length).toBeGreaterThan(0);
  });

  test.each([
    "kill ai_workflow_db",
    "pause",
    "disable ai_workflow_db",
    "reload",
    "shutdown",
    "suspend",
    "reconnect",
    "kill_client 1",
    "set max_client_conn = 1",
  ])("may not say %s to the pooler", async (command) => {
    expect(await refusal(console_(command))).toMatch(/admin access needed/);
    expect((await console_("show databases")).filter(({ paused, disabled }) => paused === 1 || disabled === 1)).toEqual(
      [],
    );
  });

  test("is the only role that reaches the pooler's console", async () => {
    for (const role of ["app_user", "app_readonly"] as const) {
      expect(await refusal(query(role, "transaction", "show pools", { database: "pgbouncer" })), role).toMatch(
        /08P01|28000|28P01/,
      );
    }
  });
});

describe("the pooler's lookup of secrets", () => {
  const asPooler = (sql: string) =>
    asSuperuser(async (admin) => {
      await admin.query("set role pgbouncer");
      return (await admin.query(sql)).rows;
    }, "ai_workflow_db");

  test("tells the secrets of pooled roles", async () => {
    expect(await asPooler("select rolname from pgbouncer.lookup('app_user')")).toEqual([{ rolname: "app_user" }]);
  });

  test.each(["postgres", "ai_workflow_owner", "pgbouncer", "pgbouncer_lookup", "nobody_here", "app_user'; --"])(
    "tells nothing of %s",
    async (role) => {
      expect(await asPooler(`select * from pgbouncer.lookup('${role.replaceAll("'", "''")}')`)).toEqual([]);
    },
  );

  test("is all that the pooler's own role can do", async () => {
    for (const sql of [
      "select rolpassword from pg_authid",
      "select * from public.users",
      "create table public.t (i int)",
      "create or replace function pgbouncer.lookup(text) returns int language sql return 1",
    ]) {
      expect(await refusal(asPooler(sql)), sql).toMatch(DENIED);
    }
  });

  test("has a fixed search_path and an owner that cannot log in", async () => {
    const [row] = await asSuperuser(
      async (admin) =>
        (
          await admin.query(
            "select p.prosecdef, p.proconfig, r.rolname, r.rolcanlogin, r.rolsuper from pg_proc p join pg_roles r on r.oid = p.proowner where p.oid = 'pgbouncer.lookup(text)'::regprocedure",
          )
        ).rows,
      "ai_workflow_db",
    );
    expect(row).toEqual({
      prosecdef: true,
      proconfig: ["search_path=pg_catalog, pg_temp"],
      rolname: "pgbouncer_lookup",
      rolcanlogin: false,
      rolsuper: false,
    });
  });
});

test("PUBLIC may create nothing in schema public, and owns no way into the database", async () => {
  const [row] = await asSuperuser(
    async (admin) =>
      (
        await admin.query(
          "select has_schema_privilege('public', 'public', 'create') as schema, has_database_privilege('public', 'ai_workflow_db', 'connect, temporary') as database",
        )
      ).rows,
    "ai_workflow_db",
  );
  expect(row).toEqual({ schema: false, database: false });
});
