import { expect, test } from "vitest";
import { mustSucceed } from "../helpers/real-stack.ts";
import { expectHealthy, stacksOfFile, upAndCorrected } from "../helpers/file-stacks.ts";

stacksOfFile();

// With one of PgBouncer's in test/long/first-runs.test.ts.
test("a first run with a setting that PostgreSQL cannot start with is gone on with once it is corrected", async () => {
  const { stack, failed, corrected } = await upAndCorrected({ postgresSettings: { work_mem: "banana" } });
  expect(failed.exitCode).toBe(1);
  expect(failed.all).toContain("does not stay up");
  expect(failed.all).toContain("banana");
  expect(mustSucceed(corrected).all).toContain("which did not stay up");
  await expectHealthy(stack);
});
