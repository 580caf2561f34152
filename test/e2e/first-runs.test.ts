import { expect, test } from "vitest";
import { mustSucceed } from "../helpers/real-stack.ts";
import { checkout, expectHealthy, newStack, stacksOfFile, up } from "../helpers/file-stacks.ts";

stacksOfFile();

// With one of PgBouncer's in test/long/first-runs.test.ts.
test("a first run with a setting that PostgreSQL cannot start with is gone on with once it is corrected", async () => {
  const stack = newStack("banana", { postgresSettings: { work_mem: "banana" } });
  const failed = await up(stack);
  expect(failed.exitCode).toBe(1);
  expect(failed.all).toContain("does not stay up");
  expect(failed.all).toContain("banana");
  checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
  const corrected = mustSucceed(await up(stack));
  expect(corrected.all).toContain("which did not stay up");
  await expectHealthy(stack);
});
