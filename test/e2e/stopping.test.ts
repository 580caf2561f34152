import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { mustSucceed } from "../helpers/real-stack.ts";
import { plugins, sleeping, stack, stackToStop, temporary, upInMigration } from "../helpers/stopping.ts";

// That a Pulumi is killed is in test/long/stopping.test.ts.
stackToStop();

test("an up that is told to end cancels its migration, which leaves nothing, and ends what it started", async () => {
  const running = await upInMigration();
  process.kill(running.pid!, "SIGTERM");
  const { exitCode, all } = await running.result;
  expect(exitCode).toBe(1);
  expect(all).toContain("Cancelled; no migration of this run stays");
  expect(all).toContain("was stopped; what was done is kept");
  expect(await sleeping()).toBe(0);
  expect(plugins()).toEqual([]);
});

test("an up whose reader has gone is finished all the same", async () => {
  temporary.checkout.settings(stack, { maintenanceIntervalMin: 0, postgresSettings: { work_mem: "9MB" } });
  const script = `{ bin/aiwdb up --stack ${stack} 2>../errors || echo "ended with $?" >>../errors; } | head -n 1`;
  mustSucceed(await temporary.checkout.shell(script));
  expect(readFileSync(path.join(temporary.checkout.root, "../errors"), "utf8")).not.toContain("ended with");
  const shown = await temporary.asOwner(stack, (client) => client.query("show work_mem"));
  expect(shown.rows).toEqual([{ work_mem: "9MB" }]);
  expect(plugins()).toEqual([]);
});
