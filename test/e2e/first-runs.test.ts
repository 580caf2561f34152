import { expect, test } from "vitest";
import { listObjects } from "../../stack/engine-objects.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import {
  checkout,
  docker,
  expectHealthy,
  expectNothingMade,
  newStack,
  stacksOfFile,
  up,
} from "../helpers/file-stacks.ts";

stacksOfFile();

test.each([
  ["PostgreSQL", { postgresSettings: { work_mem: "banana" } }],
  ["PgBouncer", { pgbouncerSettings: { stats_period: "banana" } }],
])("a first run that %s cannot start with is gone on with once the setting is corrected", async (_server, settings) => {
  const stack = newStack("banana", settings);
  const failed = await up(stack);
  expect(failed.exitCode).toBe(1);
  expect(failed.all).toContain("does not stay up");
  expect(failed.all).toContain("banana");
  checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
  const corrected = mustSucceed(await up(stack));
  expect(corrected.all).toContain("which did not stay up");
  await expectHealthy(stack);
});

test("two stacks live side by side, and removing one leaves the other whole", async () => {
  const one = newStack("one");
  const two = newStack("two");
  mustSucceed(await up(one));
  mustSucceed(await up(two));
  mustSucceed(await checkout.aiwdb(["down", "--stack", one]));
  await expectNothingMade(one);
  await expectHealthy(two);
  expect((await listObjects(docker, two)).containers.every(({ running }) => running)).toBe(true);
});
