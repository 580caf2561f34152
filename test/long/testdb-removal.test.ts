import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { serverFiles } from "../../testing/description/files.ts";
import { adminConfig, readServer, SERVER_VARIABLE, writeServer } from "../../testing/description/server.ts";
import { REGISTRY_DATABASE } from "../../testing/pool/registry.ts";
import {
  isLocalServerRunning,
  localServerProcesses,
  readLocalRecord,
  renewCertificates,
} from "../../testing/server/local.ts";
import { aiwdb, expireCertificates, mustSucceed, ownHome, until } from "../helpers/testdb.ts";

const NAME = `ci-tk${process.pid}`;

let home: { remove(): void };
let folder: string;

beforeAll(() => {
  home = ownHome();
  process.env[SERVER_VARIABLE] = NAME;
});
afterAll(() => home.remove());

beforeEach(async () => {
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "local"]));
  folder = readLocalRecord(NAME)!.folder;
});
afterEach(async () => {
  if (existsSync(serverFiles(NAME).local)) {
    for (const file of localServerProcesses(NAME)) end(`kill -INT $(head -n 1 ${file})`);
    mustSucceed(await stop());
  }
});

const stop = () => aiwdb(["testdb", "stop"]);
const end = (command: string) => execFileSync("sh", ["-c", command]);
const ended = () =>
  until(
    async () => isLocalServerRunning(NAME),
    (running) => !running,
  );
const there = () => ({
  running: isLocalServerRunning(NAME),
  data: existsSync(folder),
  description: existsSync(serverFiles(NAME).description),
});
const ALL = { running: true, data: true, description: true };
const NOTHING = { running: false, data: false, description: false };
const asAdmin = async (...statements: string[]) => {
  const admin = new pg.Client(adminConfig(readServer(), "postgres"));
  await admin.connect();
  for (const sql of statements) await admin.query(sql);
  await admin.end();
};

test("a server that lets nobody in is not removed, whatever its mark is, until its user has ended it", async () => {
  const server = readServer();
  await asAdmin(`alter database ${server.database} set aiwdb.environment = 'production'`);
  const wrong = { ...server.roles.postgres, password: "another" };
  writeServer({ ...server, roles: { ...server.roles, postgres: wrong } });
  const refused = await stop();
  expect([refused.exitCode, refused.stderr]).toEqual([
    1,
    expect.stringMatching(
      /lets nobody read whether it is marked production; nothing has been removed\.\n- 127\.0\.0\.1:\d+: password authentication failed for user "postgres"\n/,
    ),
  ]);
  expect(there()).toEqual(ALL);
  const [, command] = /`(kill -INT [^`]+)`/.exec(refused.stderr) ?? [];
  end(command!);
  await ended();
  mustSucceed(await stop());
  expect(there()).toEqual(NOTHING);
});

test("a server whose certificates have expired is removed, unless it is marked production", async () => {
  const { database } = readServer();
  const mark = (value: string) => asAdmin(`alter database ${database} set aiwdb.environment = '${value}'`);
  await mark("production");
  await expireCertificates(3_000);
  const refused = await stop();
  expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining("is marked production")]);
  expect(there()).toEqual(ALL);
  await mark("test"); // by the certificates that have been renewed
  await renewCertificates(readServer(), 1);
  mustSucceed(await stop());
  expect(there()).toEqual(NOTHING);
});

test("a server whose registry is broken is removed", async () => {
  await asAdmin(`drop database ${REGISTRY_DATABASE} with (force)`, `create database ${REGISTRY_DATABASE}`);
  mustSucceed(await stop());
  expect(there()).toEqual(NOTHING);
});

test("a server that is gone is removed although another program answers at its port", async () => {
  const { direct } = readServer();
  for (const file of localServerProcesses(NAME)) end(`kill -INT $(head -n 1 ${file})`);
  await ended();
  const other = createServer((socket) => {
    socket.on("error", () => {});
    socket.end("no PostgreSQL\n");
  });
  await new Promise<void>((resolve) => other.listen(direct.port, direct.host, resolve));
  onTestFinished(() => void other.close());
  mustSucceed(await stop());
  expect(there()).toEqual(NOTHING);
});
