import { expect, test } from "vitest";
import { until } from "../../base/retry.ts";
import { checkout, docker, expectHealthy, expectNothingMade, newStack, stacksOfFile } from "../helpers/file-stacks.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

stacksOfFile();

test("an up that is killed while a helper holds a volume is taken down without another up", async () => {
  const stack = newStack("helper");
  const running = checkout.start(["up", "--stack", stack]);
  const helperOf = async () => {
    const containers = await docker.listContainers({ all: true, filters: { label: ["ai-workflow-database.helper"] } });
    return containers.find(({ Labels }) => Labels["ai-workflow-database.helper"]?.startsWith(`aiwdb-${stack}-`));
  };
  const seen = await until(helperOf, { deadlineMs: 120_000, everyMs: 5 });
  running.kill();
  await running.result;
  expect(seen).toBeDefined();
  mustSucceed(await checkout.aiwdb(["down", "--stack", stack]));
  await expectNothingMade(stack);
  expect(await helperOf()).toBeUndefined();
});

test("of two first runs at once exactly one goes on, and the other names it", async () => {
  const stack = newStack("twice");
  const runs = [checkout.start(["up", "--stack", stack]), checkout.start(["up", "--stack", stack])];
  const results = await Promise.all(runs.map(({ result }) => result));
  expect(results.map(({ exitCode }) => exitCode).sort(), results.map(({ all }) => all).join("\n")).toEqual([0, 1]);
  const refused = results.find(({ exitCode }) => exitCode === 1);
  const holder = runs[results.findIndex(({ exitCode }) => exitCode === 0)];
  expect(refused?.stderr).toContain(`held by process ${holder?.pid} on `);
  expect(refused?.stdout).toBe("");
  await expectHealthy(stack);
});
