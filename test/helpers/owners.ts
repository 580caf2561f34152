import Docker from "dockerode";
import { afterAll, beforeAll } from "vitest";
import { listObjects } from "../../stack/engine-objects.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { createCheckout, type Checkout, type CommandResult } from "./checkout.ts";
import { mustSucceed } from "./real-stack.ts";

export const stack = `ci-owners-${process.pid}`;
/**
 * Whose stack it is to begin with, and a second user with a stack of that name. Set before the first test of a file.
 */
export let one: Checkout;
export let other: Checkout;
let docker: Docker;

/** Gives a file two users with a stack of one name on one engine; the first one's is up, with a row of its own. */
export function twoOwners(): void {
  beforeAll(async () => {
    [one, other] = await Promise.all([createCheckout(), createCheckout()]);
    docker = new Docker({ socketPath: one.env["DOCKER_HOST"]?.replace("unix://", "") as string });
    for (const checkout of [one, other])
      checkout.settings(stack, { profile: "standard", rolloutPhase: 1, maintenanceIntervalMin: 0 });
    mustSucceed(await one.aiwdb(["up", "--stack", stack]));
    await sql(one, "create table kept as select 'a row'::text as mark");
  });
  afterAll(async () => {
    mustSucceed(await one.aiwdb(["down", "--stack", stack, "--take-over"]));
    for (const checkout of [one, other]) checkout.remove();
  });
}

/** Ids of containers and networks, and names of volumes: what another user must not change. */
export async function objects() {
  const { containers, networks, volumes } = await listObjects(docker, stack);
  return {
    ids: [...containers, ...networks].map(({ id }) => id).toSorted(),
    running: containers.map(({ running }) => running),
    volumes: volumes.toSorted(),
  };
}

export async function sql(checkout: Checkout, statement: string): Promise<string> {
  const psql = ["psql", "--stack", stack, "--role", "ai_workflow_owner", "--", "-X", "-A", "-t", "-c", statement];
  return mustSucceed(await checkout.aiwdb(psql)).stdout.trim();
}

export async function removeAllButData(): Promise<void> {
  const { postgres, pgbouncer, network, postgresConfigVolume, pgbouncerConfigVolume } = engineNames(stack);
  for (const name of [postgres, pgbouncer]) await docker.getContainer(name).remove({ force: true, v: true });
  await docker.getNetwork(network).remove();
  for (const name of [postgresConfigVolume, pgbouncerConfigVolume]) await docker.getVolume(name).remove();
}

export function plainPulumi(checkout: Checkout, command: "up" | "destroy"): Promise<CommandResult> {
  return checkout.shell(
    `eval "$(bin/aiwdb env --pulumi --stack ${stack})" && pulumi ${command} -s ${stack} --yes --skip-preview`,
  );
}
