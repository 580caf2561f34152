import { rmSync } from "node:fs";
import Docker from "dockerode";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listObjects } from "../../stack/engine-objects.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { startObjectStore, type ObjectStore } from "../helpers/object-store.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

const STACK = `pr-remote-${process.pid}`;
let checkout: Checkout;
let docker: Docker;
let store: ObjectStore;
let shared: NodeJS.ProcessEnv;

const aiwdb = (...args: string[]) => checkout.aiwdb([...args, "--stack", STACK], shared);
const serverId = async () => (await docker.getContainer(engineNames(STACK).postgres).inspect()).Id;

async function expectNothing(): Promise<void> {
  expect(await listObjects(docker, STACK)).toEqual({ containers: [], networks: [], volumes: [] });
}

beforeAll(async () => {
  checkout = await createCheckout();
  checkout.settings(STACK, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
  docker = new Docker({ socketPath: checkout.env["DOCKER_HOST"]?.replace("unix://", "") as string });
  store = await startObjectStore();
  shared = { ...store.env, PULUMI_BACKEND_URL: store.url, PULUMI_CONFIG_PASSPHRASE: "known to all machines" };
});

afterAll(async () => {
  mustSucceed(await aiwdb("down"));
  await expectNothing();
  await store.close();
  checkout.remove();
});

test("a stack with its state in a bucket comes up, and the next up changes nothing", async () => {
  mustSucceed(await aiwdb("up"));
  const before = await serverId();
  const { stderr } = mustSucceed(await aiwdb("up"));
  expect(stderr).not.toContain("creating stack");
  expect(stderr).not.toContain("removing");
  expect(await serverId()).toBe(before);
  mustSucceed(await aiwdb("preview", "--expect-no-changes"));
});

test("asking for new passwords does not take running containers for left behind", async () => {
  const before = await serverId();
  const { stderr } = mustSucceed(await aiwdb("up", "--reset-passwords"));
  expect(stderr).not.toContain("left behind");
  expect(await serverId()).toBe(before);
});

test("another machine with the passphrase goes on with it", async () => {
  const home = `${checkout.root}/../other-machine`;
  const env = { ...shared, XDG_STATE_HOME: `${home}/state`, XDG_DATA_HOME: `${home}/data` };
  mustSucceed(await checkout.aiwdb(["up", "--stack", STACK], env));
  mustSucceed(await checkout.aiwdb(["status", "--stack", STACK], env));
  const stranger = { ...env, PULUMI_CONFIG_PASSPHRASE: undefined };
  const refused = await checkout.aiwdb(["up", "--stack", STACK], stranger);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain(`The passphrase of stack "${STACK}" is not here`);
  rmSync(home, { recursive: true });
  mustSucceed(await aiwdb("up"));
});

test("a bucket that does not answer stops the run before anything is touched", async () => {
  const before = await serverId();
  const gone = { ...shared, PULUMI_BACKEND_URL: store.url.replace(/127\.0\.0\.1%3A\d+/, "127.0.0.1%3A1") };
  const refused = await checkout.aiwdb(["up", "--stack", STACK, "--reset-passwords"], gone);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain(`The state of stack "${STACK}" cannot be read; nothing has been changed`);
  expect(await serverId()).toBe(before);
});

test("a lock that a killed run left there is named, with the way to take it off", async () => {
  const holder = { pid: 1, username: "somebody", hostname: "another-machine", timestamp: "2026-01-01T00:00:00Z" };
  store.put(`.pulumi/locks/organization/ai-workflow-database/${STACK}/left.json`, JSON.stringify(holder));
  const refused = await aiwdb("up");
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain(`Stack "${STACK}" is in use; nothing has been changed:`);
  expect(refused.stderr).toContain("somebody@another-machine");
  expect(refused.stderr).toContain(`aiwdb pulumi --stack ${STACK} -- cancel`);
  mustSucceed(await checkout.aiwdb(["pulumi", "--stack", STACK, "--", "cancel", "--yes"], shared));
  mustSucceed(await aiwdb("up"));
});
