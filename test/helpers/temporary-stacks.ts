import Docker from "dockerode";
import pg from "pg";
import { expect } from "vitest";
import { listObjects } from "../../stack/engine-objects.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { until } from "../../base/retry.ts";
import { createCheckout, type Checkout, type CommandResult } from "./checkout.ts";
import { mustSucceed } from "./real-stack.ts";

/** Stacks that a test makes in a checkout of its own. They are removed afterwards, also when the test failed. */
export interface TemporaryStacks {
  readonly checkout: Checkout;
  readonly docker: Docker;
  /** Writes the settings of a new stack; its name says what it is for. */
  add(purpose: string, settings?: Record<string, unknown>): string;
  /** Hands a stack over to the caller, who has to remove it. */
  keep(stack: string): void;
  up(stack: string, ...more: string[]): Promise<CommandResult>;
  asOwner<T>(stack: string, work: (client: pg.Client) => Promise<T>): Promise<T>;
  /** Starts `up`, kills it when it has printed this or after two minutes, and says what it printed. */
  killAt(stack: string, line: string): Promise<string>;
  expectHealthy(stack: string): Promise<void>;
  expectNothingMade(stack: string): Promise<void>;
  /** Takes every stack down that is not kept. */
  sweep(): Promise<void>;
}

export async function temporaryStacks(): Promise<TemporaryStacks> {
  const checkout = await createCheckout();
  const docker = new Docker({ socketPath: checkout.env["DOCKER_HOST"]?.replace("unix://", "") as string });
  const stacks = new Set<string>();
  const self: TemporaryStacks = {
    checkout,
    docker,
    add(purpose, settings = {}) {
      const stack = `pr-${purpose}-${process.pid}`;
      // Durable, but without the maintenance container: one thing less to wait for.
      checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1, ...settings });
      stacks.add(stack);
      return stack;
    },
    keep: (stack) => void stacks.delete(stack),
    up: (stack, ...more) => checkout.aiwdb(["up", "--stack", stack, ...more]),
    async asOwner(stack, work) {
      const { stdout } = mustSucceed(await checkout.aiwdb(["url", "--stack", stack, "--role", "ai_workflow_owner"]));
      const client = new pg.Client({ connectionString: stdout.trim() });
      await client.connect();
      try {
        return await work(client);
      } finally {
        await client.end();
      }
    },
    async killAt(stack, line) {
      const running = checkout.start(["up", "--stack", stack]);
      await until(async () => running.output().includes(line) || undefined, {
        deadlineMs: 120_000,
        everyMs: 5,
      });
      running.kill();
      return (await running.result).all;
    },
    async expectHealthy(stack) {
      const status = JSON.parse(mustSucceed(await checkout.aiwdb(["status", "--stack", stack, "--json"])).stdout);
      expect(status).toMatchObject({ healthy: true, tls: true, migrations: { pending: [] } });
      const objects = await listObjects(docker, stack);
      expect(objects.containers.map(({ name }) => name).sort()).toEqual([
        engineNames(stack).pgbouncer,
        engineNames(stack).postgres,
      ]);
      expect(objects.networks).toHaveLength(1);
      expect(objects.volumes).toHaveLength(3);
    },
    async expectNothingMade(stack) {
      expect(await listObjects(docker, stack)).toEqual({ containers: [], networks: [], volumes: [] });
    },
    async sweep() {
      for (const stack of stacks) {
        mustSucceed(await checkout.aiwdb(["down", "--stack", stack]));
        await self.expectNothingMade(stack);
        stacks.delete(stack);
      }
    },
  };
  return self;
}
