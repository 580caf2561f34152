import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findEngine } from "../../toolchain/engine/find.ts";
import { processStart } from "../../base/process-identity.ts";
import {
  isOurs,
  recordedEngine,
  startPrivateEngine,
  stopPrivateEngine,
  type EngineRecord,
} from "../../toolchain/engine/private.ts";

let folder: string;
const VARIABLES = ["XDG_STATE_HOME", "XDG_DATA_HOME"] as const;
const before = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
const report = () => undefined;
const start = () => startPrivateEngine(dockerd, report, join(folder, "run"));
const nowhere = () => findEngine({ env: { HOME: folder }, sockets: [] });

/** Stands in for dockerd: listens where it is told and says its version. */
const FAKE = `#!${process.execPath}
const { createServer } = require("node:http");
const { writeFileSync } = require("node:fs");
const option = (name) => process.argv[process.argv.indexOf(name) + 1];
if (process.env.FAKE_DOCKERD_FAILS) { console.error("no iptables"); process.exit(1); }
writeFileSync(option("--pidfile"), String(process.pid));
createServer((_, response) => response.end('{"Version":"9.9"}')).listen(option("--host").slice(7));
process.on("SIGTERM", () => process.exit(0));
`;

let dockerd: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aiwdb-pe-"));
  for (const name of VARIABLES) process.env[name] = join(folder, name);
  dockerd = join(folder, "dockerd");
  writeFileSync(dockerd, FAKE);
  chmodSync(dockerd, 0o755);
});
afterEach(async () => {
  await stopPrivateEngine();
  delete process.env["FAKE_DOCKERD_FAILS"];
  for (const name of VARIABLES) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
  rmSync(folder, { recursive: true, force: true });
});

test("starts an engine of its own, finds it again and stops it", async () => {
  const host = await start();
  expect(await nowhere()).toMatchObject({ host, version: "9.9", way: "found", isPrivate: true });
  const pid = recordedEngine()?.pid ?? 0;
  expect(await stopPrivateEngine()).toBe(host);
  expect(processStart(pid)).toBeUndefined();
  expect(await nowhere()).toBeUndefined();
  expect(await stopPrivateEngine()).toBeUndefined();
});

test("starts one engine, not two, for two commands at once", async () => {
  const started: string[] = [];
  const starting = () => startPrivateEngine(dockerd, (line) => started.push(line), join(folder, "run"));
  const [one, two] = await Promise.all([starting(), starting()]);
  expect(two).toBe(one);
  expect(started).toHaveLength(1);
});

test("starts again with the same data after the engine was killed, as after a reboot", async () => {
  await start();
  const first = recordedEngine() as EngineRecord;
  process.kill(first.pid, "SIGKILL");
  while (isOurs(first)) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(await nowhere()).toBeUndefined();
  await start();
  const second = recordedEngine() as EngineRecord;
  expect(second).toMatchObject({ host: first.host, dataRoot: first.dataRoot });
  expect(second.pid).not.toBe(first.pid);
});

test("uses the engine that another data folder's set-up started, and does not stop it", async () => {
  const host = await start();
  const theirs = process.env["XDG_STATE_HOME"];
  process.env["XDG_STATE_HOME"] = join(folder, "other-state");
  expect(await start()).toBe(host);
  expect(await findEngine({ env: { HOME: folder }, sockets: [host.slice("unix://".length)] })).toMatchObject({
    host,
    isPrivate: false,
  });
  expect(await stopPrivateEngine()).toBeUndefined();
  process.env["XDG_STATE_HOME"] = theirs;
});

test("shows the engine's own words when it does not start", async () => {
  process.env["FAKE_DOCKERD_FAILS"] = "1";
  await expect(start()).rejects.toThrow(/ended while it started:\nno iptables/);
});

test("never stops a process that merely has the recorded number", async () => {
  await start();
  const record = recordedEngine() as EngineRecord;
  await stopPrivateEngine();
  const foreign = { ...record, pid: process.pid, start: processStart(process.pid) };
  const file = join(process.env["XDG_STATE_HOME"] ?? "", "ai-workflow-database/engine.json");
  expect(existsSync(file)).toBe(true);
  writeFileSync(file, JSON.stringify(foreign));
  expect(recordedEngine()?.pid).toBe(process.pid);
  expect(await stopPrivateEngine()).toBeUndefined();
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(foreign);
});
