import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { offeredCertificate } from "../../infra/provider/handshake.ts";
import { exec } from "../../infra/provider/engine.ts";
import { connectionFor } from "../../cli/stack/status.ts";
import type { StackOutputs } from "../../cli/stack/session.ts";
import { createCheckout, type Checkout, type CommandResult } from "../helpers/checkout.ts";
import { containerName, docker, eventually, open, query, refusal, startedAt } from "../helpers/connect.ts";
import { mustSucceed, readOutputs, SETTINGS } from "../helpers/real-stack.ts";

// A stack of its own, because passwords and settings change under it.
const NAME = `ci-r${process.pid}`;
vi.setConfig({ testTimeout: 5 * 60_000 }); // every test runs `up`, some twice
let checkout: Checkout;
let outputs: StackOutputs;

const up = (env: NodeJS.ProcessEnv = {}): Promise<CommandResult> => checkout.aiwdb(["up", "--stack", NAME], env);
const settings = (changed: Record<string, unknown> = {}) =>
  checkout.settings(NAME, { ...SETTINGS, rolloutPhase: 1, maintenanceIntervalMin: 0, ...changed });
const started = async () => [await startedAt("postgres", NAME), await startedAt("pgbouncer", NAME)];
const shown = async (name: string) =>
  (await query<Record<string, string>>("app_user", "direct", `show ${name}`, { outputs }))[0]?.[name];

beforeAll(async () => {
  checkout = await createCheckout(path.join(tmpdir(), `aiwdb-stack-${NAME}`));
  settings();
  mustSucceed(await up());
  outputs = await readOutputs(checkout, NAME);
});
afterAll(async () => {
  mustSucceed(await checkout.aiwdb(["down", "--stack", NAME]));
  checkout.remove();
});

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

  const renewed = new AbortController();
  let connects = 0;
  const failures: string[] = [];
  const load = (["direct", "transaction", "session"] as const).map(async (mode) => {
    while (!renewed.signal.aborted) {
      try {
        await query("app_user", mode, "select 1", { outputs });
        connects += 1;
      } catch (error) {
        failures.push(`${mode}: ${(error as Error).message}`);
      }
    }
  });
  const result = await up({ AIWDB_ROTATE_CERTIFICATES: "test" });
  renewed.abort();
  await Promise.all(load);
  mustSucceed(result);

  expect(failures).toEqual([]);
  expect(connects).toBeGreaterThan(20);
  expect(await serial("postgres")).not.toBe(serials.postgres);
  expect(await serial("pgbouncer")).not.toBe(serials.pgbouncer);
  expect(clientSerial()).not.toBe(oldClient);
  for (const [index, client] of sessions.entries()) {
    expect((await client.query("select pid, pg_backend_pid() as now from kept")).rows).toEqual([
      { pid: pids[index], now: pids[index] },
    ]);
    await client.end();
  }
  expect(await started()).toEqual(before);
});

test("the pooler's connections to the server are made with its new certificate after a renewal", async () => {
  const serialInUse = () =>
    query<{ client_serial: string }>(
      "postgres",
      "direct",
      "select distinct client_serial::text from pg_stat_ssl join pg_stat_activity using (pid) where usename in ('app_user', 'pgbouncer') and client_addr is not null and pid <> pg_backend_pid() and client_dn like '%CN=pgbouncer%'",
      { outputs, database: "ai_workflow_db" },
    );
  await query("app_user", "transaction", "select 1", { outputs });
  const old = (await serialInUse()).map(({ client_serial }) => client_serial);
  expect(old).toHaveLength(1);
  mustSucceed(await up({ AIWDB_ROTATE_CERTIFICATES: "again" }));
  await expect
    .poll(
      async () => {
        await query("app_user", "transaction", "select 1", { outputs });
        return (await serialInUse()).map(({ client_serial }) => client_serial);
      },
      { timeout: 20_000 },
    )
    .toEqual([expect.not.stringMatching(new RegExp(`^${old[0]}$`))]);
});

test("a certificate that is due is renewed by the next `up`, and the one after it changes nothing", async () => {
  const { port } = connectionFor(outputs, "app_user", "direct");
  const before = await offeredCertificate("127.0.0.1", port);
  settings({ certLeafValidityDays: 90, certRenewBeforeDays: 89.9999 }); // due 9 s after it was issued
  await expect.poll(() => Date.now() - Date.parse(before.valid_from), { timeout: 20_000 }).toBeGreaterThan(10_000);
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
  outputs = await readOutputs(checkout, NAME);
  for (const role of ["app_user", "app_readonly", "app_monitor", "ai_workflow_owner", "postgres"] as const) {
    expect(outputs.passwords[role], role).not.toBe(old.passwords[role]);
    expect(await query(role, "direct", "select current_user as role", { outputs })).toEqual([{ role }]);
    expect(await refusal(open(role, "direct", { outputs: old })), role).toMatch(/28P01/);
  }
  for (const mode of ["transaction", "session"] as const) {
    expect(await query("app_user", mode, "select current_user as role", { outputs })).toEqual([{ role: "app_user" }]);
    expect(await refusal(open("app_user", mode, { outputs: old }))).toMatch(/SASL|password/);
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

const FILE = { postgres: "postgresql.conf", pgbouncer: "pgbouncer.ini" } as const;
const FOLDER = { postgres: "/etc/postgresql", pgbouncer: "/etc/pgbouncer" } as const;

test.each([
  [
    "not of its type",
    { work_mem: "banana" },
    /invalid value for parameter "work_mem": "banana"/,
    { stats_period: "banana" },
    /invalid value "banana" for parameter stats_period/,
  ],
  [
    "unknown",
    { no_such_setting: "1" },
    /unrecognized configuration parameter "no_such_setting"/,
    { no_such_setting: "1" },
    /unknown parameter: pgbouncer\/no_such_setting/,
  ],
  [
    "not of its type, and read only at start",
    { shared_buffers: "banana" },
    /invalid value for parameter "shared_buffers": "banana"/,
    { listen_backlog: "banana" },
    /invalid value "banana" for parameter listen_backlog/,
  ],
] as const)(
  "a setting that is %s is refused in each server's own words; the old ones stay in force and in their files",
  async (_what, forServer, words, forPooler, poolerWords) => {
    const before = await started();
    const read = async (service: "postgres" | "pgbouncer") =>
      (await exec(docker(), containerName(service, NAME), ["cat", `${FOLDER[service]}/${FILE[service]}`])).stdout;
    const texts = [await read("postgres"), await read("pgbouncer")];
    const inForce = await shown("work_mem");
    settings({ passwordVersion: 2, postgresSettings: forServer, pgbouncerSettings: forPooler });
    const failed = await up();
    expect(failed.exitCode).toBe(1);
    for (const service of ["postgres", "pgbouncer"] as const)
      expect(failed.all).toContain(
        `${containerName(service, NAME)} refused its new settings; nothing has been changed`,
      );
    expect(failed.all).toMatch(words);
    expect(failed.all).toMatch(poolerWords);
    expect([await read("postgres"), await read("pgbouncer")]).toEqual(texts);
    expect(await shown("work_mem")).toBe(inForce);
    expect(await query("app_user", "transaction", "select 1 as one", { outputs })).toEqual([{ one: 1 }]);
    expect(await started()).toEqual(before);
  },
);

test("a setting that is well written but lets the server not start is taken back, and the server runs on with the old ones", async () => {
  settings({
    passwordVersion: 2,
    postgresSettings: { work_mem: "9MB", shared_buffers: "4TB" },
    pgbouncerSettings: { stats_period: 61 },
  });
  const failed = await up();
  expect(failed.exitCode).toBe(1);
  expect(failed.all).toMatch(
    /does not start with its new settings; the old ones are back in place\. Its last lines:[^]*could not (map anonymous )?shared memory|Cannot allocate memory/,
  );
  await eventually(async () => expect(await shown("work_mem")).toBe("9MB"));
});

test("a setting the server reads only at start restarts it once, and only it; known to us or not", async () => {
  const base = { passwordVersion: 2, pgbouncerSettings: { stats_period: 61 } };
  let [server, pooler] = await started();
  for (const [name, value] of [
    ["shared_buffers", "72MB"],
    ["max_locks_per_transaction", "65"],
  ] as const) {
    settings({ ...base, postgresSettings: { work_mem: "9MB", [name]: value } });
    mustSucceed(await up());
    expect(await shown(name), name).toBe(value);
    const [now, poolerNow] = await started();
    expect([now === server, poolerNow]).toEqual([false, pooler]);
    [server, pooler] = [now, poolerNow];
  }
  expect((await checkout.aiwdb(["status", "--stack", NAME, "--json"])).exitCode).toBe(0);
});
