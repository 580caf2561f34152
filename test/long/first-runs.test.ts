import { createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { derivedAddresses } from "../../infra/settings/addresses.ts";
import { listObjects } from "../../stack/engine-objects.ts";
import {
  checkout,
  docker,
  expectHealthy,
  expectNothingMade,
  newStack,
  stacksOfFile,
  up,
  upAndCorrected,
} from "../helpers/file-stacks.ts";
import { foreignNetwork } from "../helpers/foreign-network.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

stacksOfFile();

test("a first run with a setting that PgBouncer cannot start with is gone on with once it is corrected", async () => {
  const { stack, failed, corrected } = await upAndCorrected({ pgbouncerSettings: { stats_period: "banana" } });
  expect(failed.exitCode).toBe(1);
  expect(failed.all).toContain("does not stay up");
  expect(failed.all).toContain("banana");
  expect(mustSucceed(corrected).all).toContain("which did not stay up");
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

test("derived addresses that others have are replaced by the next free ones, for good", async () => {
  const stack = newStack("derived");
  const [first, second] = [derivedAddresses(stack), derivedAddresses(stack, 1)];
  const network = await foreignNetwork(docker, first.networkSubnet);
  onTestFinished(() => network.remove().catch(() => {})); // where the test did not come to it
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(first.postgresPort, "127.0.0.1", resolve));
  try {
    const { stderr } = mustSucceed(await up(stack));
    expect(stderr).toContain(`postgresPort ${second.postgresPort}, networkSubnet ${second.networkSubnet}`);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
  await network.remove();
  const { stdout } = mustSucceed(await checkout.aiwdb(["url", "--stack", stack, "--mode", "direct"]));
  expect(new URL(stdout.trim()).port).toBe(String(second.postgresPort));
  // The first ones are free again, and a running stack does not move.
  mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
  await expectHealthy(stack);
});
