import { createServer, type Server, type Socket } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import Docker from "dockerode";
import { afterAll, beforeAll, expect, test } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { until } from "../../base/retry.ts";
import { ENGINE_ANSWER_MS } from "../../toolchain/engine/client.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

const STACK = `pr-slow-${process.pid}`;
const SETTINGS = { maintenanceIntervalMin: 0, rolloutPhase: 1 };
let checkout: Checkout;
let docker: Docker;

beforeAll(async () => {
  checkout = await createCheckout();
  docker = new Docker({ socketPath: checkout.env["DOCKER_HOST"]?.replace("unix://", "") as string });
  checkout.settings(STACK, SETTINGS);
});
afterAll(async () => {
  mustSucceed(await checkout.aiwdb(["down", "--stack", STACK]));
  checkout.remove();
});

test("a server that takes 30 s to accept connections is waited for, and no provider meets it before", async () => {
  const running = checkout.start(["up", "--stack", STACK]);
  // All processes but the container's init, as on a machine that has no time for them.
  const signal = (name: "STOP" | "CONT") => exec(docker, engineNames(STACK).postgres, ["sh", "-c", `kill -${name} -1`]);
  const paused = await until(
    async () => {
      try {
        return (await signal("STOP")).exitCode === 0 ? Date.now() : undefined;
      } catch {
        return undefined; // it is not there yet
      }
    },
    { deadlineMs: 120_000, everyMs: 5 },
  );
  expect(paused).toBeDefined();
  const ended = await until(async () => (Date.now() - (paused ?? 0) > 30_000 ? true : undefined), {
    deadlineMs: 60_000,
    everyMs: 250,
  });
  expect(ended).toBe(true);
  expect(running.output()).toContain(`waiting for ${engineNames(STACK).postgres} to accept connections`);
  expect((await signal("CONT")).exitCode).toBe(0);
  const result = mustSucceed(await running.result);
  expect(result.all).not.toMatch(/connection refused|ECONNREFUSED|could not connect/i);
  expect(result.all).toMatch(new RegExp(`stack\\s+${STACK}: healthy`));
});

test("a server that does not come up at all ends `up` with its own last lines, and a mended one goes on from there", async () => {
  checkout.settings(STACK, { ...SETTINGS, postgresSettings: { shared_buffers: "4TB" } });
  const failed = await checkout.aiwdb(["up", "--stack", STACK]);
  expect(failed.exitCode).toBe(1);
  expect(failed.all).toMatch(/shared memory|Cannot allocate memory/);
  checkout.settings(STACK, SETTINGS);
  mustSucceed(await checkout.aiwdb(["up", "--stack", STACK]));
});

test("a protected stack is not removed by one command, and by two it is", async () => {
  checkout.settings(STACK, { ...SETTINGS, protect: true });
  mustSucceed(await checkout.aiwdb(["up", "--stack", STACK]));
  const refused = await checkout.aiwdb(["down", "--stack", STACK]);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toMatch(/is protected; nothing has been changed/);
  expect(JSON.parse(mustSucceed(await checkout.aiwdb(["status", "--stack", STACK, "--json"])).stdout)).toMatchObject({
    healthy: true,
  });
  checkout.settings(STACK, SETTINGS);
  mustSucceed(await checkout.aiwdb(["up", "--stack", STACK]));
});

test("an engine that takes a connection and never answers ends in one clear message", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "silent-"));
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(path.join(folder, "docker.sock"), resolve));
  try {
    const result = await checkout.aiwdb(["up", "--stack", STACK], { DOCKER_HOST: `unix://${folder}/docker.sock` });
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain(`${folder}/docker.sock`);
    expect(result.stderr).not.toMatch(/bug|\n\s+at /);
    // It never answers: what ended the wait is the limit of one question.
    expect(result.stderr).toContain(`did not answer within ${ENGINE_ANSWER_MS / 1_000} s`);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  }
});
