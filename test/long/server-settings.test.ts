import { afterAll, beforeAll, expect, test } from "vitest";
import type { StackOutputs } from "../../stack/session.ts";
import type { Checkout } from "../helpers/checkout.ts";
import { containerName, docker, eventually, open, query } from "../helpers/connect.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { upRefusedByServers } from "../helpers/rotation.ts";

const NAME = `ci-s${process.pid}`;
let checkout: Checkout;
let own: OwnStack;
let outputs: StackOutputs;

const up = () => own.up();
const settings = (changed: Record<string, unknown> = {}) => own.settings(changed);
const started = () => own.started();
const shown = (name: string) => own.shown(name);

beforeAll(async () => {
  own = await ownStack(NAME, { postgresSettings: { work_mem: "9MB" }, pgbouncerSettings: { stats_period: 61 } });
  ({ checkout, outputs } = own);
});
afterAll(() => own.remove());

test("a larger pooler is the same container with another setting", async () => {
  const container = async () => {
    const { Id, State } = await docker().getContainer(containerName("pgbouncer", NAME)).inspect();
    return [Id, State.StartedAt];
  };
  const config = async () => {
    const rows = await query<{ key: string; value: string }>("app_monitor", "transaction", "show config", {
      outputs,
      database: "pgbouncer",
    });
    return rows.find(({ key }) => key === "max_client_conn")?.value;
  };
  const before = await container();
  const kept = await open("app_user", "session", { outputs });
  expect(await config()).toBe("250");
  settings({
    postgresSettings: { work_mem: "9MB" },
    pgbouncerSettings: { stats_period: 61 },
    pgbouncerMaxClientConn: 251,
  });
  mustSucceed(await up());
  expect(await config()).toBe("251");
  expect(await container()).toEqual(before);
  expect((await kept.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  await kept.end();
});

test("a setting that is read only at start, and not of its type, is refused in each server's own words too", async () => {
  const printed = await upRefusedByServers(own, {
    postgresSettings: { work_mem: "9MB", shared_buffers: "banana" },
    pgbouncerSettings: { stats_period: 61, listen_backlog: "banana" },
  });
  expect(printed).toContain('invalid value for parameter "shared_buffers": "banana"');
  expect(printed).toContain('invalid value "banana" for parameter listen_backlog');
});

test("a setting that is well written but lets the server not start is taken back, and the server runs on with the old ones", async () => {
  settings({
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
  const base = { pgbouncerSettings: { stats_period: 61 } };
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

test("a setting the pooler reads only at start restarts it once, and only it; known to us or not", async () => {
  const postgresSettings = { work_mem: "9MB", max_locks_per_transaction: "65" };
  let [server, pooler] = await started();
  for (const [name, value] of [
    ["listen_backlog", "2048"],
    ["pkt_buf", "8192"],
    ["so_reuseport", "1"],
  ] as const) {
    settings({ postgresSettings, pgbouncerSettings: { [name]: value } });
    mustSucceed(await up());
    const rows = await query<{ key: string; value: string }>("app_monitor", "transaction", "show config", {
      outputs,
      database: "pgbouncer",
    });
    expect(rows.find(({ key }) => key === name)?.value, name).toBe(value);
    const [serverNow, now] = await started();
    expect([serverNow, now === pooler]).toEqual([server, false]);
    [server, pooler] = [serverNow, now];
  }
  mustSucceed(await up());
  expect(await started()).toEqual([server, pooler]);
});
