import net from "node:net";
import type { Client } from "pg";
import { describe, expect, inject, test } from "vitest";
import { lookupDatabase } from "../../infra/settings/names.ts";
import { POOLED_ROLES, ROLES, type PooledRole } from "../../database/access/roles.ts";
import { connectionFor } from "../../stack/connections.ts";
import { asSuperuser, containerName, eventually, log, open, query, refusal, startedAt } from "../helpers/connect.ts";
import { fingerprint } from "../helpers/fingerprint.ts";

// What a role tries with its certificate, key and password on a running stack, at both ports; what it tries by SQL
// alone is in schema-attacks.test.ts.
const DATABASE = "ai_workflow_db";
const REFUSED = /^(28000|28P01|42501|3D000|08P01|0A000|58P01|-): /;

const stateOfStack = () => asSuperuser((superuser) => fingerprint(superuser), DATABASE);

describe.each(POOLED_ROLES)("%s, with nothing but its own certificate and password,", (role) => {
  const others = [
    ROLES.owner,
    ROLES.pooler,
    ROLES.lookupOwner,
    "postgres",
    ...POOLED_ROLES.filter((other) => other !== role),
    role.toUpperCase(),
    `${role} `,
    `${role}' or true--`,
    "replication",
    "",
  ].filter((user) => user !== "");

  test.each(others)("is not let in as %j, at neither port", async (user) => {
    for (const mode of ["direct", "transaction", "session"] as const) {
      expect(await refusal(open(role, mode, { user })), mode).toMatch(REFUSED);
      expect(await refusal(open(role, mode, { user, password: "" })), mode).toMatch(/./);
    }
  });

  test.each([
    lookupDatabase(DATABASE),
    "postgres",
    "template1",
    "template0",
    "*",
    "pgbouncer_lookup",
    `${DATABASE}_Session`,
    "replication",
  ])("does not get into the database %j, at neither port", async (database) => {
    for (const mode of ["direct", "transaction"] as const) {
      expect(await refusal(open(role, mode, { database })), mode).toMatch(REFUSED);
    }
  });

  test.each([
    ["role", "ai_workflow_owner"],
    ["session_authorization", "postgres"],
    ["session_replication_role", "replica"],
    ["session_preload_libraries", "auto_explain"],
    ["local_preload_libraries", "nothing"],
    ["log_statement", "all"],
    ["log_min_error_statement", "panic"],
    ["allow_system_table_mods", "on"],
    ["ignore_checksum_failure", "on"],
    ["dynamic_library_path", "/tmp"],
  ])("does not start with %s = %s: refused by the server and, by name, by the pooler", async (name, value) => {
    const options = `-c ${name}=${value}`;
    expect(await refusal(open(role, "direct", { options }))).toMatch(/^(42501|22023|58P01|55P02): /);
    for (const mode of ["transaction", "session"] as const)
      expect(await refusal(open(role, mode, { options }))).toContain(
        `unsupported startup parameter in options: ${name}`,
      );
  });

  test.each(["true", "database"])("does not replicate (replication = %s)", async (replication) => {
    expect(await refusal(open(role, "direct", { replication } as object))).toMatch(/^(28000|42501): /);
  });

  test("does not end another's statement by its process number", async () => {
    for (const mode of ["direct", "transaction"] as const) {
      const holder = await open("app_user", "direct");
      await holder.query("select pg_advisory_lock(4711)");
      const victim = await open("app_user", mode);
      const waiting = victim.query("select pg_advisory_xact_lock(4711)");
      const { host, port } = connectionFor(inject("stack").outputs, role, mode);
      const pid = await eventually(() =>
        asSuperuser(async (superuser) => {
          const { rows } = await superuser.query<{ pid: number }>(
            "select pid from pg_stat_activity where wait_event = 'advisory' and query like '%(4711)'",
          );
          expect(rows).toHaveLength(1);
          return rows[0]?.pid as number;
        }, DATABASE),
      );
      for (const key of [0, 1, -1, pid]) await cancel(host, port, pid, key);
      await holder.query("select pg_advisory_unlock(4711)");
      expect((await waiting).rowCount).toBe(1);
      await victim.end();
      await holder.end();
    }
  });

  test.each(["direct", "transaction"] as const)("stops no server with a start that is none (%s)", async (mode) => {
    const before = [await startedAt("postgres"), await startedAt("pgbouncer")];
    const { host, port } = connectionFor(inject("stack").outputs, role, mode);
    for (const start of [
      Buffer.from([0, 0, 0, 0]),
      Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
      Buffer.from([0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      Buffer.alloc(20_000, 0x41),
    ]) {
      await send(host, port, start);
    }
    expect((await query(role, mode, "select 1 as one"))[0]).toEqual({ one: 1 });
    expect([await startedAt("postgres"), await startedAt("pgbouncer")]).toEqual(before);
  });

  test("does not keep the owner and the other roles out by holding connections", async () => {
    const held: Client[] = [];
    let refused: unknown;
    try {
      for (let count = 0; count < 200; count += 1) held.push(await open(role, "direct"));
    } catch (error) {
      refused = error;
    }
    try {
      expect((refused as Error).message).toBe(`too many connections for role "${role}"`);
      expect(await query("ai_workflow_owner", "direct", "select 1 as one")).toEqual([{ one: 1 }]);
      for (const other of POOLED_ROLES.filter((name) => name !== role)) {
        expect(await query(other, "transaction", "select 1 as one"), other).toEqual([{ one: 1 }]);
      }
    } finally {
      await Promise.all(held.map((client) => client.end()));
    }
  });

  test("leaves nothing for another role in the pooler's connections", async () => {
    const client = await open(role, "transaction");
    await client.query("set application_name = 'planted'");
    await client.query("set search_path = 'planted'");
    await client.query("prepare planted as select 'planted'");
    await client.query("begin; declare planted cursor with hold for select 'planted'; commit");
    for (const other of POOLED_ROLES.filter((name) => name !== role)) {
      const [found] = await query<{ path: string; name: string; left: number }>(
        other,
        "transaction",
        `select current_setting('search_path') as path, current_setting('application_name') as name,
           ((select count(*) from pg_prepared_statements where name = 'planted') + (select count(*) from pg_cursors))::int as left`,
      );
      expect(found?.path).not.toContain("planted");
      expect(found?.name).not.toContain("planted");
      expect(found?.left).toBe(0);
    }
    await client.query("discard all");
    await client.end();
  });

  test("writes no control character into others' lists by its name", async () => {
    const name = "a\u001B[2Jb\nc\u0007";
    const clients = [
      await open(role, "direct", { application_name: name }),
      await open(role, "transaction", { application_name: name }),
    ];
    for (const client of clients) await client.query("select 1");
    const names = await asSuperuser(
      async (superuser) =>
        (await superuser.query<{ name: string }>("select application_name as name from pg_stat_activity")).rows,
      DATABASE,
    );
    for (const client of clients) await client.end();
    expect(names.filter(({ name: shown }) => /\p{Cc}/u.test(shown))).toEqual([]);
    expect(names.some(({ name: shown }) => shown.includes("[2Jb"))).toBe(true);
  });

  test("forges no line of the server's log", async () => {
    const forged = `forged by ${role} ${process.pid}`;
    await query(
      role,
      "direct",
      `do $$ begin raise log e'first\\n2026-01-01 00:00:00.000 UTC [1] postgres@${DATABASE} LOG:  ${forged}'; end $$`,
    );
    const lines = (await log(containerName("postgres")))
      .split("\n")
      .filter((line) => line.includes(forged) && !line.includes("raise log"));
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.filter((line) => !/^.{0,8}\t/.test(line))).toEqual([]);
  });

  test.each([
    "select * from pgbouncer.lookup('postgres')",
    "select rolpassword from pg_authid",
    "select * from pg_shadow",
    "select pg_read_file('/etc/postgresql/tls/server.key')",
    "select pg_read_binary_file('/proc/self/environ')",
    "select pg_stat_file('/etc/postgresql/pg_hba.conf')",
    "select * from pg_hba_file_rules",
    "select pg_ls_dir('/etc/postgresql')",
    "copy (select 1) to program 'cat /etc/postgresql/tls/server.key'",
    "select lo_import('/etc/postgresql/tls/server.key')",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'pgbouncer'",
    "select pg_reload_conf()",
    "alter role pgbouncer password 'planted'",
    "alter role postgres password 'planted'",
    `alter database ${DATABASE} set session_preload_libraries = 'auto_explain'`,
    `alter database ${DATABASE} connection limit 0`,
    `drop database ${DATABASE}`,
    "call maintenance.run()",
    "set role pgbouncer_lookup",
  ])("is refused, directly and pooled: %s", async (sql) => {
    const before = await stateOfStack();
    for (const mode of ["direct", "transaction", "session"] as const) {
      expect(await refusal(query(role, mode, sql)), mode).toMatch(/^(42501|55006|25001): /);
    }
    expect(await stateOfStack()).toEqual(before);
  });
});

describe("the pooler's console", () => {
  const console_ = (sql: string) =>
    query<Record<string, unknown>>("app_monitor", "transaction", sql, { database: "pgbouncer" });

  test.each(["app_user", "app_readonly"] as const)("lets %s in by no mode", async (role: PooledRole) => {
    for (const mode of ["transaction", "session"] as const) {
      expect(await refusal(open(role, mode, { database: "pgbouncer" }))).toMatch(/not allowed/);
    }
  });

  test.each([
    "show fds",
    "set verbose = 2",
    "set auth_query = 'select 1, 2'",
    "set admin_users = 'app_monitor'",
    "set stats_users = 'app_user'",
    "set log_connections = 0; reload",
    "show version; shutdown",
    "resume",
    "enable ai_workflow_db",
    "wait_close ai_workflow_db",
    "kill",
    "kill_client 0x0",
    "suspend;",
  ])("changes nothing for app_monitor: %s", async (command) => {
    const before = await console_("show config");
    const started = await startedAt("pgbouncer");
    expect(await refusal(console_(command))).toMatch(
      /admin access needed|syntax|invalid command|not allowed|unexpected/i,
    );
    expect(await console_("show config")).toEqual(before);
    expect(await startedAt("pgbouncer")).toBe(started);
    expect((await query("app_user", "transaction", "select 1 as one"))[0]).toEqual({ one: 1 });
  });

  test("tells app_monitor no password, no stored secret and no key, whatever it is asked to show", async () => {
    const { outputs } = inject("stack");
    const secrets = (["app_user", "app_readonly", "ai_workflow_owner", "postgres"] as const).map(
      (role) =>
        connectionFor(outputs, role, role === "app_user" || role === "app_readonly" ? "transaction" : "direct")
          .password,
    );
    let shown = "";
    for (const what of [
      "clients",
      "config",
      "databases",
      "dns_hosts",
      "dns_zones",
      "lists",
      "mem",
      "peers",
      "pools",
      "servers",
      "sockets",
      "active_sockets",
      "stats",
      "state",
      "totals",
      "users",
      "help",
    ]) {
      shown += await console_(`show ${what}`).then(JSON.stringify, (error: Error) => error.message);
    }
    expect(shown).toContain("auth_query");
    for (const secret of [...secrets, "SCRAM-SHA-256$", "PRIVATE KEY"]) expect(shown.includes(secret)).toBe(false);
  });
});

describe("the statistics that app_monitor reads", () => {
  test("have no stored secret, no password and no value of the application's", async () => {
    await query("app_user", "direct", "select from public.users where email = 'one-of-them@example.org'");
    const client = await open("app_user", "direct");
    await client.query("select from public.users where email = $1", ["another-one@example.org"]);
    await client.end();
    const seen = (await query<{ query: string }>("app_monitor", "direct", "select query from pg_stat_statements")).map(
      ({ query: text }) => text,
    );
    expect(seen.some((text) => text.includes("public.users where email ="))).toBe(true);
    expect(seen.filter((text) => /one-of-them|another-one|SCRAM-SHA-256\$/.test(text))).toEqual([]);
  });

  test("show app_user and app_readonly no statement of another role's", async () => {
    for (const role of ["app_user", "app_readonly"] as const) {
      expect(
        await query(
          role,
          "direct",
          "select query from pg_stat_activity where usename is distinct from current_user and query not in ('', '<insufficient privilege>')",
        ),
      ).toEqual([]);
      expect(await refusal(query(role, "direct", "select query from pg_stat_statements"))).toMatch(/^42501: /);
    }
  });
});

/** Sends a cancel request, which asks for no TLS and no password, but for the session's secret number. */
function cancel(host: string, port: number, pid: number, key: number): Promise<void> {
  const request = Buffer.alloc(16);
  [16, 80_877_102, pid, key].forEach((value, index) => request.writeInt32BE(value, index * 4));
  return send(host, port, request);
}

/** Sends bytes and waits until the server closes, or for a second. */
function send(host: string, port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect(port, host, () => socket.end(bytes));
    socket.setTimeout(1_000, () => socket.destroy());
    socket.on("error", () => {});
    socket.on("data", () => {});
    socket.on("close", () => resolve());
  });
}
