import { afterAll, beforeAll, expect, test } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { SERVER_VARIABLE } from "../../testing/description/server.ts";
import { closeTestDatabases, testDatabase } from "../../testing/databases/test-database.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { findEngine } from "../../toolchain/engine/find.ts";
import { toolEnvironment } from "../helpers/checkout.ts";
import { aiwdb, mustSucceed, ownHome } from "../helpers/testdb.ts";

const NAME = `ci-tk${process.pid}`;
let home: { remove(): void };

beforeAll(async () => {
  Object.assign(process.env, await toolEnvironment());
  home = ownHome();
  process.env[SERVER_VARIABLE] = NAME;
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "container"]));
});

afterAll(async () => {
  await closeTestDatabases();
  mustSucceed(await aiwdb(["testdb", "stop"]));
  home.remove();
});

test("a server whose container was killed says so, and start makes a new one", async () => {
  const engine = engineClient((await findEngine())!);
  await engine.getContainer(engineNames(NAME).postgres).kill({ signal: "SIGKILL" });
  const listed = await aiwdb(["testdb", "list"]);
  expect([listed.exitCode, listed.stderr]).toEqual([1, expect.stringContaining("does not answer")]);
  const dry = JSON.parse(mustSucceed(await aiwdb(["reap", "--dry-run", "--json"])).stdout) as {
    due: { stack: string }[];
    all: { stack: string }[];
  };
  expect(dry.all.map(({ stack }) => stack)).toContain(NAME);
  expect(dry.due.map(({ stack }) => stack)).not.toContain(NAME);
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "container"]));
  const db = await testDatabase({ connect: true });
  expect((await db.client!.query("select count(*)::integer as count from users")).rows).toEqual([{ count: 0 }]);
  await db.drop();
});
