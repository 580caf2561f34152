import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { offeredCertificate } from "../../database/handshake.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { connectionFor } from "../../stack/connections.ts";
import type { StackStatus } from "../../stack/status/status.ts";
import type { StackOutputs } from "../../stack/session.ts";
import type { Checkout, CommandResult } from "../helpers/checkout.ts";
import { containerName, docker, eventually, open, query, refusal } from "../helpers/connect.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { upRefusedByServers, poolerCertificates, whileConnecting } from "../helpers/rotation.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// A stack of its own, because passwords and settings change under it.
const NAME = `ci-r${process.pid}`;
vi.setConfig({ testTimeout: 5 * 60_000 }); // every test runs `up`, some twice
let own: OwnStack;
let checkout: Checkout;
let outputs: StackOutputs;

const up = (env: NodeJS.ProcessEnv = {}): Promise<CommandResult> => own.up(env);
const settings = (changed: Record<string, unknown> = {}) => own.settings(changed);
const started = () => own.started();
const shown = (name: string) => own.shown(name);

beforeAll(async () => {
  own = await ownStack(NAME, { appUserTemporary: true });
  ({ checkout, outputs } = own);
});
afterAll(() => own.remove());

test("certificates are renewed under load: no connect fails, sessions stay, both servers offer the new ones, nothing restarts", async () => {
  const before = await started();
  const connections = {
    postgres: connectionFor(outputs, "app_user", "direct"),
    pgbouncer: connectionFor(outputs, "app_user", "transaction"),
  };
  const serial = async (service: "postgres" | "pgbouncer") =>
    (await offeredCertificate(connections[service].host, connections[service].port)).serialNumber;
  const serials = { postgres: await serial("postgres"), pgbouncer: await serial("pgbouncer") };
  const clientSerial = () => new X509Certificate(readFileSync(connections.postgres.sslCert)).serialNumber;
  const oldClient = clientSerial();

  const sessions = await Promise.all([
    open("app_user", "direct", { outputs }),
    open("app_user", "session", { outputs }),
  ]);
  onTestFinished(async () => void (await Promise.all(sessions.map((client) => client.end()))));
  const pids = await Promise.all(
    sessions.map(
      async (client) =>
        (
          (await client.query(
            "create temporary table kept as select pg_backend_pid() as pid; select pid from kept",
          )) as unknown as { rows: { pid: number }[] }[]
        )[1]?.rows[0]?.pid,
    ),
  );

  const { connects, failures, result } = await whileConnecting(outputs, () =>
    up({ AIWDB_ROTATE_CERTIFICATES: "test" }),
  );
  mustSucceed(result);

  expect(failures).toEqual([]);
  expect(connects()).toBeGreaterThan(20);
  expect(await serial("postgres")).not.toBe(serials.postgres);
  expect(await serial("pgbouncer")).not.toBe(serials.pgbouncer);
  expect(clientSerial()).not.toBe(oldClient);
  for (const [index, client] of sessions.entries()) {
    expect((await client.query("select pid, pg_backend_pid() as now from kept")).rows).toEqual([
      { pid: pids[index], now: pids[index] },
    ]);
  }
  expect(await started()).toEqual(before);
});

test("when a renewal is done, no server connection of transaction mode is older than it; one of session mode ends with its client", async () => {
  const inUse = () => poolerCertificates(outputs);
  const session = await open("app_user", "session", { outputs });
  onTestFinished(() => session.end());
  const sessionPid = (await session.query("select pg_backend_pid() as pid")).rows[0].pid as number;
  // Transactions that are always open somewhere, so that connections are in use when the pooler is told to leave them.
  const renewed = new AbortController();
  const busy = Array.from({ length: 6 }, async () => {
    const client = await open("app_user", "transaction", { outputs });
    try {
      while (!renewed.signal.aborted) await client.query("select pg_sleep(0.4)");
    } finally {
      await client.end();
    }
  });
  let old: string[];
  let result: CommandResult;
  let now: Map<number, string>;
  try {
    await expect.poll(async () => (await inUse()).size).toBeGreaterThan(5);
    old = [...new Set((await inUse()).values())];
    result = await up({ AIWDB_ROTATE_CERTIFICATES: "again" });
    now = await inUse();
    await expect.poll(async () => (await inUse()).size).toBeGreaterThan(5); // there are new ones
  } finally {
    renewed.abort();
    await Promise.all(busy);
  }
  mustSucceed(result);
  expect(old).toHaveLength(1);
  expect([...now].filter(([, serial]) => serial === old[0]).map(([pid]) => pid)).toEqual([sessionPid]);
  expect((await session.query("select pg_backend_pid() as pid")).rows).toEqual([{ pid: sessionPid }]);
  await session.end();
  await eventually(async () => expect([...(await inUse()).values()]).not.toContain(old[0]));
});

test("a certificate that is due is renewed by the next `up`, and the one after it changes nothing", async () => {
  const { port } = connectionFor(outputs, "app_user", "direct");
  const before = await offeredCertificate("127.0.0.1", port);
  settings({ certLeafValidityDays: 90, certRenewBeforeDays: 89.9999 }); // due 9 s after it was issued
  await expect.poll(() => Date.now() - Date.parse(before.valid_from)).toBeGreaterThan(10_000);
  mustSucceed(await up());
  expect((await offeredCertificate("127.0.0.1", port)).serialNumber).not.toBe(before.serialNumber);
  settings();
  const second = mustSucceed(await up());
  expect(second.all).not.toMatch(/(created|updated|replaced|deleted) \(/);
});

test("a raised passwordVersion gives every role a new password without a restart, and the old ones are refused", async () => {
  const before = await started();
  const kept = await open("app_user", "session", { outputs });
  const old = outputs;
  settings({ passwordVersion: 2 });
  mustSucceed(await up());
  outputs = await own.readOutputs();
  for (const role of ["app_user", "app_readonly", "app_monitor", "ai_workflow_owner", "postgres"] as const) {
    expect(outputs.passwords[role], role).not.toBe(old.passwords[role]);
    expect(await query(role, "direct", "select current_user as role", { outputs })).toEqual([{ role }]);
    expect(await refusal(open(role, "direct", { outputs: old })), role).toMatch(/28P01/);
  }
  for (const mode of ["transaction", "session"] as const) {
    expect(await query("app_user", mode, "select current_user as role", { outputs })).toEqual([{ role: "app_user" }]);
    expect(await refusal(open("app_user", mode, { outputs: old }))).toBe("08P01: SASL authentication failed");
  }
  expect((await kept.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  await kept.end();
  expect(await started()).toEqual(before);
});

test("a setting the server reads at any time is applied without a restart", async () => {
  const before = await started();
  settings({ passwordVersion: 2, postgresSettings: { work_mem: "9MB" }, pgbouncerSettings: { stats_period: 61 } });
  mustSucceed(await up());
  await expect.poll(() => shown("work_mem")).toBe("9MB");
  const rows = await query<{ key: string; value: string }>("app_monitor", "transaction", "show config", {
    outputs,
    database: "pgbouncer",
  });
  expect(rows.find(({ key }) => key === "stats_period")?.value).toBe("61");
  expect(await started()).toEqual(before);
});

test("a setting that is not of its type is refused in each server's own words; the old ones stay in force and in their files", async () => {
  const printed = await upRefusedByServers(own, {
    passwordVersion: 2,
    postgresSettings: { work_mem: "banana" },
    pgbouncerSettings: { stats_period: "banana" },
  });
  expect(printed).toContain('invalid value for parameter "work_mem": "banana"');
  expect(printed).toContain('invalid value "banana" for parameter stats_period');
});

test("a setting that is on no list is refused by its name, before a server sees it; the old ones stay in force", async () => {
  const before = await started();
  const inForce = await shown("work_mem");
  settings({
    passwordVersion: 2,
    postgresSettings: { work_mem: "10MB", include: "/etc/passwd", no_such_setting: "1" },
    pgbouncerSettings: { client_tls_ciphers: "ALL", no_such_setting: "1" },
  });
  const failed = await up();
  expect(failed.exitCode).toBe(1);
  expect(failed.all).toContain("(4 problems); nothing has been changed");
  for (const name of ["postgresSettings.include", "pgbouncerSettings.client_tls_ciphers"])
    expect(failed.all).toContain(`- ${name}: `);
  for (const setting of ["postgresSettings", "pgbouncerSettings"])
    expect(failed.all).toContain(`- ${setting}.no_such_setting: is not among the settings that may be overridden`);
  expect(await shown("work_mem")).toBe(inForce);
  expect(await started()).toEqual(before);
});

test("`status` asks a container itself, whatever the engine, which asks once an hour, heard last", async () => {
  settings({ passwordVersion: 2, healthCheckIntervalSec: 3_600 });
  const result = mustSucceed(await up());
  for (const service of ["postgres", "pgbouncer"] as const)
    expect(result.all).toMatch(new RegExp(`${containerName(service, NAME)} +running, healthy`));
  // What the query needs is taken away: the port is open as before.
  const hide = (from: string, to: string) =>
    exec(docker(), containerName("pgbouncer", NAME), ["sh", "-c", `mv /run/pgbouncer/${from} /run/pgbouncer/${to}`]);
  expect((await hide(".s.PGSQL.6432", "hidden")).exitCode).toBe(0);
  try {
    const { exitCode, stdout } = await checkout.aiwdb(["status", "--stack", NAME, "--json"]);
    const { containers } = JSON.parse(stdout) as StackStatus;
    expect([exitCode, containers.find(({ name }) => name.endsWith("pgbouncer"))?.health]).toEqual([
      1,
      expect.stringMatching(/^(starting|unhealthy)$/),
    ]);
  } finally {
    await hide("hidden", ".s.PGSQL.6432");
  }
});

describe("a guarantee that somebody took away by hand", () => {
  const status = async () => {
    const { exitCode, stdout } = await checkout.aiwdb(["status", "--stack", NAME, "--json"]);
    return { exitCode, drift: (JSON.parse(stdout) as StackStatus).drift };
  };
  const admin = (sql: string) => query("postgres", "direct", sql, { outputs });

  test.each([
    [
      "for the whole server",
      ["alter system set password_encryption = 'md5'", "select pg_reload_conf()"],
      ["alter system reset password_encryption", "select pg_reload_conf()"],
      { server: "postgres", name: "password_encryption", expected: "scram-sha-256", actual: "md5" },
    ],
    [
      "for one role",
      ["alter role app_user set password_encryption = 'md5'"],
      ["alter role app_user reset password_encryption"],
      { server: "postgres", name: "password_encryption", scope: "app_user", expected: "scram-sha-256", actual: "md5" },
    ],
  ])("is reported by `status` with the live value, %s, and exit code 1", async (_where, take, giveBack, expected) => {
    await expect.poll(status).toEqual({ exitCode: 0, drift: [] });
    for (const sql of take) await admin(sql);
    try {
      await expect.poll(status).toEqual({ exitCode: 1, drift: [expected] });
    } finally {
      for (const sql of giveBack) await admin(sql);
    }
    await expect.poll(status).toEqual({ exitCode: 0, drift: [] });
  });

  test("is reported for the pooler too", async () => {
    const console_ = (sql: string) =>
      exec(docker(), containerName("pgbouncer", NAME), [
        "sh",
        "-c",
        `psql -X -h /run/pgbouncer -p 6432 -U pgbouncer -d pgbouncer -c "${sql}"`,
      ]);
    expect((await console_("set server_tls_sslmode = 'require'")).exitCode).toBe(0);
    try {
      expect(await status()).toEqual({
        exitCode: 1,
        drift: [{ server: "pgbouncer", name: "server_tls_sslmode", expected: "verify-full", actual: "require" }],
      });
    } finally {
      await console_("reload");
    }
    expect(await status()).toEqual({ exitCode: 0, drift: [] });
  });
});
