import type Docker from "dockerode";
import { afterAll, afterEach, beforeAll } from "vitest";
import type { Checkout } from "./checkout.ts";
import { temporaryStacks, type TemporaryStacks } from "./temporary-stacks.ts";

/** The stacks of a test file, from `stacksOfFile()` on. */
export let temporary: TemporaryStacks;
export let checkout: Checkout;
export let docker: Docker;

export const newStack: TemporaryStacks["add"] = (purpose, settings) => temporary.add(purpose, settings);
export const up: TemporaryStacks["up"] = (stack, ...more) => temporary.up(stack, ...more);
export const asOwner: TemporaryStacks["asOwner"] = (stack, work) => temporary.asOwner(stack, work);
export const expectHealthy: TemporaryStacks["expectHealthy"] = (stack) => temporary.expectHealthy(stack);
export const expectNothingMade: TemporaryStacks["expectNothingMade"] = (stack) => temporary.expectNothingMade(stack);

/** Brings a new stack up whose settings a server cannot start with, and again once they are corrected. */
export async function upAndCorrected(settings: Record<string, unknown>) {
  const stack = newStack("banana", settings);
  const failed = await up(stack);
  checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
  return { stack, failed, corrected: await up(stack) };
}

/** Makes a checkout for the file. After each test it takes down every stack that the test left. */
export function stacksOfFile(): void {
  beforeAll(async () => {
    temporary = await temporaryStacks();
    ({ checkout, docker } = temporary);
  });
  afterEach(() => temporary.sweep());
  afterAll(() => checkout.remove());
}
