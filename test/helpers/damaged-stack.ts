import Docker from "dockerode";
import { expect } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { createCheckout, type Checkout, type CommandResult } from "./checkout.ts";
import { mustSucceed } from "./real-stack.ts";

/** A stack of a test's own that is damaged on the engine, behind Pulumi's back, and brought up again. */
export interface DamagedStack {
  readonly stack: string;
  readonly docker: Docker;
  readonly checkout: Checkout;
  readonly names: ReturnType<typeof engineNames>;
  up(...more: string[]): Promise<CommandResult>;
  preview(...more: string[]): Promise<CommandResult>;
  sql(statement: string): Promise<string>;
  stop(...containers: string[]): Promise<void>;
  removeContainer(...containers: string[]): Promise<void>;
  /** Takes every container off the network and removes it. */
  removeNetwork(): Promise<void>;
  /** Brings the stack up and sees that it is whole and that the row is still there. */
  expectHealed(): Promise<CommandResult>;
  remove(): Promise<void>;
}

/** Makes the stack, with one row of its own in the database. */
export async function createDamagedStack(stack: string): Promise<DamagedStack> {
  const checkout = await createCheckout();
  const docker = new Docker({ socketPath: checkout.env["DOCKER_HOST"]?.replace("unix://", "") as string });
  const names = engineNames(stack);
  checkout.settings(stack, {});
  const aiwdb = (...args: string[]) => checkout.aiwdb([...args, "--stack", stack]);
  const self: DamagedStack = {
    stack,
    docker,
    checkout,
    names,
    up: (...more) => aiwdb("up", ...more),
    preview: (...more) => aiwdb("preview", ...more),
    async sql(statement) {
      const psql = ["psql", "--stack", stack, "--role", "ai_workflow_owner", "--", "-X", "-A", "-t", "-c", statement];
      return mustSucceed(await checkout.aiwdb(psql)).stdout.trim();
    },
    async stop(...containers) {
      await Promise.all(containers.map((name) => docker.getContainer(name).stop()));
    },
    async removeContainer(...containers) {
      await Promise.all(containers.map((name) => docker.getContainer(name).remove({ force: true, v: true })));
    },
    async removeNetwork() {
      const network = docker.getNetwork(names.network);
      const { Containers = {} } = (await network.inspect()) as Docker.NetworkInspectInfo;
      for (const id of Object.keys(Containers)) await network.disconnect({ Container: id, Force: true });
      await network.remove();
    },
    async expectHealed() {
      const healed = mustSucceed(await aiwdb("up"));
      expect(await self.sql("select mark from kept")).toBe("a row");
      const status = JSON.parse(mustSucceed(await aiwdb("status", "--json")).stdout) as object;
      expect(status).toMatchObject({ healthy: true, tls: true, migrations: { pending: [] } });
      mustSucceed(await aiwdb("preview", "--expect-no-changes"));
      return healed;
    },
    async remove() {
      mustSucceed(await aiwdb("down"));
      checkout.remove();
    },
  };
  mustSucceed(await self.up());
  await self.sql("create table kept as select 'a row'::text as mark");
  return self;
}
