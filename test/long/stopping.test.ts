import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { mustSucceed } from "../helpers/real-stack.ts";
import {
  plugins,
  removeSlowMigration,
  sleeping,
  stack,
  stackToStop,
  temporary,
  upInMigration,
} from "../helpers/stopping.ts";

stackToStop();

/** A child of the command: Pulumi itself. */
function pulumiOf(pid: number): number | undefined {
  const children = (of: number) =>
    readFileSync(`/proc/${of}/task/${of}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  return children(pid).find((child) => readFileSync(`/proc/${child}/comm`, "utf8").trim() === "pulumi");
}

const pendingOperations = (): unknown =>
  (
    JSON.parse(readFileSync(temporary.checkout.stateFile(stack), "utf8")) as {
      checkpoint: { latest: { pending_operations?: unknown[] } };
    }
  ).checkpoint.latest.pending_operations ?? [];

test("plugins of a Pulumi that is killed end with it, and the next up forgets what it was at", async () => {
  const running = await upInMigration();
  const pulumi = pulumiOf(running.pid!);
  expect(plugins().length).toBeGreaterThan(2);
  process.kill(pulumi!, "SIGKILL");
  expect((await running.result).exitCode).toBe(1);
  await vi.waitFor(() => expect(plugins()).toEqual([]), { timeout: 60_000 });
  expect(pendingOperations()).not.toEqual([]);
  await vi.waitFor(async () => expect(await sleeping()).toBe(0), { timeout: 60_000 });

  removeSlowMigration();
  const { stderr } = mustSucceed(await temporary.up(stack));
  expect(stderr).toContain("the last run was cut off");
  expect(pendingOperations()).toEqual([]);
  expect(mustSucceed(await temporary.up(stack)).all).not.toContain("pending operation");
});
