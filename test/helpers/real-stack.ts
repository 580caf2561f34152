import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";
import type { StackOutputs } from "../../stack/session.ts";
import { processStart } from "../../base/process-identity.ts";
import { withLock } from "../../base/lock.ts";
import { createCheckout, type Checkout, type CommandResult } from "./checkout.ts";

/** What the integration tests get: `inject("stack")`. */
export interface RealStack {
  readonly name: string;
  /** Folder of checkout and state. */
  readonly home: string;
  readonly outputs: StackOutputs;
  /** Everything `up` printed. */
  readonly log: string;
}

declare module "vitest" {
  export interface ProvidedContext {
    stack: RealStack;
  }
}

/** Settings that are small enough for a laptop. Tests rely on these figures. */
export const SETTINGS = {
  // The profile of production: data on disk, restarts, no entries for test databases. A name ci-… would get profile ci.
  profile: "standard",
  pgbouncerMaxClientConn: 250,
  pgbouncerServerConnectTimeoutSec: 5,
  pgbouncerClientLoginTimeoutSec: 15,
  healthCheckIntervalSec: 5,
};

/**
 * One stack for all integration tests. AIWDB_TEST_STACK=ci-mine keeps it under that name for the next run, which saves
 * the time to make it; such a stack is removed by hand: `aiwdb down`.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const kept = process.env["AIWDB_TEST_STACK"];
  const name = kept ?? `ci-t${process.pid}`;
  const home = path.join(tmpdir(), `aiwdb-stack-${name}`);
  await removeLeftBehind();
  const checkout = await createCheckout(home);
  checkout.settings(name, SETTINGS);
  let up = await checkout.aiwdb(["up", "--stack", name]);
  if (kept && up.exitCode !== 0) {
    // A kept stack may have applied older versions of migrations that are not released yet and may still change.
    mustSucceed(await checkout.aiwdb(["down", "--stack", name]));
    up = await checkout.aiwdb(["up", "--stack", name]);
  }
  mustSucceed(up);
  const outputs = await readOutputs(checkout, name);
  project.provide("stack", { name, home, outputs, log: up.all });
  return async () => {
    if (kept) return;
    mustSucceed(await checkout.aiwdb(["down", "--stack", name]));
    checkout.remove();
  };
}

export async function readOutputs(checkout: Checkout, stack: string): Promise<StackOutputs> {
  const result = mustSucceed(
    await checkout.aiwdb(["pulumi", "--stack", stack, "--", "stack", "output", "--json", "--show-secrets"]),
  );
  return JSON.parse(result.stdout) as StackOutputs;
}

export function mustSucceed(result: CommandResult): CommandResult {
  if (result.exitCode !== 0) throw new Error(`aiwdb ended with ${result.exitCode}:\n${result.all}`);
  return result;
}

/** Stacks of runs that were killed. Only one run at a time may look, as two would remove the same folders. */
function removeLeftBehind(): Promise<void> {
  return withLock(path.join(tmpdir(), "aiwdb-left-behind/lock"), removeEach);
}

async function removeEach(): Promise<void> {
  for (const folder of readdirSync(tmpdir())) {
    const [, stack, pid] = /^aiwdb-stack-(ci-[a-z](\d+))$/.exec(folder) ?? [];
    if (stack === undefined || processStart(Number(pid)) !== undefined) continue;
    const checkout = await createCheckout(path.join(tmpdir(), folder));
    mustSucceed(await checkout.aiwdb(["down", "--stack", stack]));
    checkout.remove();
  }
}
