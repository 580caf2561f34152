import { expect, test } from "vitest";
import { mustSucceed } from "../helpers/real-stack.ts";
import { checkout, expectHealthy, newStack, stacksOfFile, temporary, up } from "../helpers/file-stacks.ts";

stacksOfFile();

// At other moments it is killed in test/long/killed.test.ts and test/long/faults.test.ts.
test("an up that is killed while migrations run is continued by the next, and leaves no orphan", async () => {
  const line = "Migrations database-database-migrations creating";
  const stack = newStack("killed");
  expect(await temporary.killAt(stack, line)).toContain(line);
  mustSucceed(await up(stack));
  await expectHealthy(stack);
  mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
});
