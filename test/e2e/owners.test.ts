import { readFileSync, rmSync, writeFileSync } from "node:fs";
import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StateResource } from "../../stack/backend.ts";
import { TYPES } from "../../stack/engine-damage.ts";
import { listObjects } from "../../stack/engine-objects.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

let docker: Docker;
const SMALL = { profile: "standard", rolloutPhase: 1, maintenanceIntervalMin: 0 };

/** Ids of containers and networks, and names of volumes: what another user must not change. */
async function objectsOf(stack: string) {
  const { containers, networks, volumes } = await listObjects(docker, stack);
  return {
    ids: [...containers, ...networks].map(({ id }) => id).toSorted(),
    running: containers.map(({ running }) => running),
    volumes: volumes.toSorted(),
  };
}

async function sql(checkout: Checkout, stack: string, statement: string): Promise<string> {
  const psql = ["psql", "--stack", stack, "--role", "ai_workflow_owner", "--", "-X", "-A", "-t", "-c", statement];
  return mustSucceed(await checkout.aiwdb(psql)).stdout.trim();
}

async function removeAllButData(stack: string): Promise<void> {
  const { postgres, pgbouncer, network, postgresConfigVolume, pgbouncerConfigVolume } = engineNames(stack);
  for (const name of [postgres, pgbouncer]) await docker.getContainer(name).remove({ force: true, v: true });
  await docker.getNetwork(network).remove();
  for (const name of [postgresConfigVolume, pgbouncerConfigVolume]) await docker.getVolume(name).remove();
}

function plainPulumi(checkout: Checkout, stack: string, command: "up" | "destroy") {
  return checkout.shell(
    `eval "$(bin/aiwdb env --pulumi --stack ${stack})" && pulumi ${command} -s ${stack} --yes --skip-preview`,
  );
}

describe("two users with a stack of one name on one engine", () => {
  const stack = `ci-owners-${process.pid}`;
  let one: Checkout;
  let other: Checkout;

  beforeAll(async () => {
    [one, other] = await Promise.all([createCheckout(), createCheckout()]);
    docker = new Docker({ socketPath: one.env["DOCKER_HOST"]?.replace("unix://", "") as string });
    for (const checkout of [one, other]) checkout.settings(stack, SMALL);
    mustSucceed(await one.aiwdb(["up", "--stack", stack]));
    await sql(one, stack, "create table kept as select 'a row'::text as mark");
  });
  afterAll(async () => {
    mustSucceed(await one.aiwdb(["down", "--stack", stack, "--take-over"]));
    for (const checkout of [one, other]) checkout.remove();
  });

  test.each(["up", "up --reset-passwords", "up --yes", "down", "down --delete-data"])(
    "%s of the second is refused by name and changes nothing",
    async (command) => {
      const before = await objectsOf(stack);
      const refused = await other.aiwdb([...command.split(" "), "--stack", stack]);
      expect(refused.exitCode, refused.all).toBe(1);
      expect(refused.stderr).toContain(
        `Stack "${stack}" on this engine is not the one of your state; nothing has been changed:`,
      );
      expect(refused.stderr).toMatch(/belong to a state that is not here, made by \S+@\S+\s+Leave it to its owner/);
      expect(refused.stderr).toContain(engineNames(stack).postgres);
      expect(await objectsOf(stack)).toEqual(before);
    },
  );

  test("plain Pulumi of the second changes nothing of the first's", async () => {
    const before = await objectsOf(stack);
    mustSucceed(await other.aiwdb(["pulumi", "--stack", stack, "--", "stack"])); // makes an empty state
    const refused = await plainPulumi(other, stack, "up");
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toContain("belongs to another state");
    expect(await objectsOf(stack)).toEqual(before);
    mustSucceed(await one.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
    mustSucceed(await one.aiwdb(["status", "--stack", stack]));
    expect(await sql(one, stack, "select mark from kept")).toBe("a row");
  });

  test("while only the data is left of it, the second removes nothing either", async () => {
    const { dataVolume } = engineNames(stack);
    await removeAllButData(stack);
    for (const command of ["down", "up"]) {
      const refused = await other.aiwdb([command, "--stack", stack]);
      expect(refused.exitCode, refused.all).toBe(1);
      expect(refused.stderr).toMatch(/belong to a state that is not here, made by \S+@\S+/);
    }
    await plainPulumi(other, stack, "destroy"); // of what its refused `up` has made
    expect((await objectsOf(stack)).volumes).toEqual([dataVolume]);
    rmSync(other.stateFile(stack));
    mustSucceed(await one.aiwdb(["up", "--stack", stack]));
    expect(await sql(one, stack, "select mark from kept")).toBe("a row");
  });

  test("a state of an older backup, from before it had an identity, goes on with the one of its stack", async () => {
    const file = one.stateFile(stack);
    const state = JSON.parse(readFileSync(file, "utf8")) as { checkpoint: { latest: { resources: StateResource[] } } };
    const { latest } = state.checkpoint;
    const identity = latest.resources.find(({ type }) => type === TYPES.identity);
    const withoutIdentity = (_key: string, value: unknown) =>
      Array.isArray(value) ? value.filter((one) => one !== identity?.urn && one?.urn !== identity?.urn) : value;
    state.checkpoint.latest.resources = JSON.parse(JSON.stringify(latest.resources), withoutIdentity);
    expect(JSON.stringify(state)).not.toContain(TYPES.identity);
    writeFileSync(file, JSON.stringify(state));
    mustSucceed(await one.aiwdb(["up", "--stack", stack]));
    expect(readFileSync(file, "utf8")).toContain(`"${identity?.id}"`);
    mustSucceed(await one.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
  });

  test("the second takes it over by saying so, and then the first is refused", async () => {
    mustSucceed(await other.aiwdb(["up", "--stack", stack, "--reset-passwords", "--yes"]));
    expect(await sql(other, stack, "select mark from kept")).toBe("a row");
    const before = await objectsOf(stack);
    for (const command of ["up", "down"]) {
      const refused = await one.aiwdb([command, "--stack", stack]);
      expect(refused.exitCode, refused.all).toBe(1);
      expect(refused.stderr).toContain("is not the one of your state");
    }
    for (const command of ["up", "destroy"] as const) {
      const refused = await plainPulumi(one, stack, command);
      expect(refused.exitCode, refused.all).not.toBe(0);
      expect(refused.all).toContain("belongs to another state");
    }
    expect(await objectsOf(stack)).toEqual(before);
    mustSucceed(await other.aiwdb(["status", "--stack", stack]));
    mustSucceed(await other.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
  });

  test("the first takes it back, whose state has other certificates than the volumes", async () => {
    mustSucceed(await one.aiwdb(["up", "--stack", stack, "--reset-passwords", "--yes"]));
    expect(await sql(one, stack, "select mark from kept")).toBe("a row");
    mustSucceed(await one.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
  });

  test("while only the data is left of it, one that had it before removes nothing", async () => {
    const { dataVolume } = engineNames(stack);
    await removeAllButData(stack);
    expect((await other.aiwdb(["down", "--stack", stack])).exitCode).toBe(1);
    expect((await other.aiwdb(["up", "--stack", stack])).exitCode).toBe(1);
    expect((await plainPulumi(other, stack, "destroy")).exitCode).not.toBe(0);
    expect((await objectsOf(stack)).volumes).toEqual([dataVolume]);
  });
});
