import { randomBytes } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import Docker from "dockerode";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { listObjects } from "../../stack/engine-objects.ts";
import type { StackStatus } from "../../stack/status/status.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { createCheckout, type Checkout, type CommandResult } from "../helpers/checkout.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// One life of a production stack beside a disposable one, in the one shell that docs/operations.md prescribes: the
// tests follow one another.
const PRODUCTION = `production-${process.pid}`;
const DISPOSABLE = `pr-beside-${process.pid}`;
let checkout: Checkout;
let docker: Docker;
let settings: Record<string, unknown>;
let shell: NodeJS.ProcessEnv;

const aiwdb = (stack: string, ...args: string[]): Promise<CommandResult> =>
  checkout.aiwdb([...args, "--stack", stack], shell);

async function expectProduction(): Promise<void> {
  const status = JSON.parse(mustSucceed(await aiwdb(PRODUCTION, "status", "--json")).stdout) as StackStatus;
  expect(status).toMatchObject({ healthy: true, tls: true, migrations: { pending: [] } });
  const names = engineNames(PRODUCTION);
  const objects = await listObjects(docker, PRODUCTION);
  expect(objects.containers.map(({ name }) => name).sort()).toEqual([
    names.maintenance,
    names.pgbouncer,
    names.postgres,
  ]);
  expect(objects.containers.every(({ running }) => running)).toBe(true);
  expect(objects.networks).toHaveLength(1);
  expect(objects.volumes).toContain(names.dataVolume);
}

async function expectNothing(stack: string): Promise<void> {
  expect(await listObjects(docker, stack)).toEqual({ containers: [], networks: [], volumes: [] });
}

beforeAll(async () => {
  checkout = await createCheckout();
  docker = new Docker({ socketPath: checkout.env["DOCKER_HOST"]?.replace("unix://", "") as string });
  const { NCPU } = (await docker.info()) as { NCPU: number };
  const { config } = parse(readFileSync(path.join(checkout.root, "Pulumi.prod.yaml"), "utf8")) as {
    config: Record<string, unknown>;
  };
  // As prod has it, but on ports of its own, and on whatever machine runs the tests.
  settings = Object.fromEntries(
    Object.entries(config)
      .map(([key, value]) => [key.replace(/^[^:]+:/, ""), value] as const)
      .filter(([key]) => !["postgresPort", "pgbouncerPort"].includes(key)),
  );
  settings["postgresCpus"] = Math.min(Number(settings["postgresCpus"]), NCPU);
  checkout.settings(PRODUCTION, settings);
  checkout.settings(DISPOSABLE, { rolloutPhase: 1 });
  const file = path.join(checkout.root, "../production.passphrase");
  writeFileSync(file, randomBytes(48).toString("base64"), { mode: 0o600 });
  shell = { PULUMI_CONFIG_PASSPHRASE_FILE: file };
  // A clone as a user has it; its node_modules are a link here, which a pattern for folders does not match.
  const git = "git -c user.name=test -c user.email=test@example.org";
  mustSucceed(
    await checkout.shell(
      `git init -q && echo /node_modules >>.git/info/exclude && git add -A && ${git} commit -q -m test`,
    ),
  );
});

afterAll(async () => {
  mustSucceed(await aiwdb(DISPOSABLE, "down"));
  if ((await aiwdb(PRODUCTION, "down", "--delete-data")).exitCode !== 0) {
    // A test that failed left it protected.
    checkout.settings(PRODUCTION, { ...settings, protect: false });
    mustSucceed(await aiwdb(PRODUCTION, "up", "--no-backup"));
    mustSucceed(await aiwdb(PRODUCTION, "down", "--delete-data"));
  }
  for (const stack of [PRODUCTION, DISPOSABLE]) await expectNothing(stack);
  checkout.remove();
});

test("a production stack comes up beside a disposable one, which any shell opens", async () => {
  mustSucceed(await aiwdb(PRODUCTION, "up"));
  mustSucceed(await aiwdb(DISPOSABLE, "up"));
  await expectProduction();
  const elsewhere = await checkout.aiwdb(["preview", "--stack", DISPOSABLE, "--expect-no-changes"]);
  expect(elsewhere.exitCode, elsewhere.all).toBe(0);
  mustSucceed(await aiwdb(DISPOSABLE, "preview", "--expect-no-changes"));
  mustSucceed(await aiwdb(PRODUCTION, "preview", "--expect-no-changes"));
});

test("a first up leaves git status clean", async () => {
  const { stdout } = mustSucceed(await checkout.shell("git status --porcelain"));
  expect(stdout).toBe("");
});

test("a wrong passphrase, and none, are refused", async () => {
  const wrong = await checkout.aiwdb(["up", "--stack", PRODUCTION], { PULUMI_CONFIG_PASSPHRASE: "wrong" });
  expect(wrong.exitCode).toBe(1);
  expect(wrong.stderr).toContain("The passphrase is not the one");
  const none = await checkout.aiwdb(["up", "--stack", PRODUCTION]);
  expect(none.exitCode).toBe(1);
  expect(none.stderr).toContain("needs a passphrase");
});

test("plain pulumi goes on with what the wrapper made, and leaves git status clean", async () => {
  const plain = async (stack: string, script: string, env: NodeJS.ProcessEnv = shell) =>
    checkout.shell(`eval "$(bin/aiwdb env --pulumi --stack ${stack} 2>/dev/null)"; ${script}`, env);
  mustSucceed(await plain(PRODUCTION, `pulumi preview -s ${PRODUCTION} --diff --expect-no-changes`));
  const work = `pulumi refresh -s ${DISPOSABLE} --yes && pulumi up -s ${DISPOSABLE} --yes && pulumi preview -s ${DISPOSABLE} --expect-no-changes`;
  mustSucceed(await plain(DISPOSABLE, work));
  mustSucceed(await checkout.aiwdb(["preview", "--stack", DISPOSABLE, "--expect-no-changes"]));

  checkout.settings("other", { databaseName: "another_name" });
  const refused = await plain(PRODUCTION, `pulumi preview -s ${PRODUCTION}`);
  rmSync(path.join(checkout.root, "Pulumi.other.yaml"));
  expect(refused.exitCode).not.toBe(0);
  expect(refused.all).toContain("Pulumi.other.yaml, databaseName: another_name");

  mustSucceed(await plain(DISPOSABLE, `pulumi destroy -s ${DISPOSABLE} --yes`));
  await expectNothing(DISPOSABLE);
  mustSucceed(await plain(DISPOSABLE, `pulumi up -s ${DISPOSABLE} --yes --skip-preview`));
  mustSucceed(await aiwdb(DISPOSABLE, "status"));
  expect(mustSucceed(await checkout.shell("git status --porcelain")).stdout).toBe("");
});

test("down of the disposable one in the same shell leaves nothing of it and all of the production stack", async () => {
  const down = await aiwdb(DISPOSABLE, "down");
  expect(down.exitCode, down.all).toBe(0);
  await expectNothing(DISPOSABLE);
  await expectProduction();
  mustSucceed(await aiwdb(PRODUCTION, "preview", "--expect-no-changes"));
});

test("down of the production stack is refused while it is protected, and while its data is not named", async () => {
  const refused = await aiwdb(PRODUCTION, "down", "--delete-data");
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain("set `protect` to false");
  checkout.settings(PRODUCTION, { ...settings, protect: false });
  mustSucceed(await aiwdb(PRODUCTION, "up"));
  const unnamed = await aiwdb(PRODUCTION, "down");
  expect(unnamed.exitCode).toBe(1);
  expect(unnamed.stderr).toContain("--delete-data");
  await expectProduction();
});
