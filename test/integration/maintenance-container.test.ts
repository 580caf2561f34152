import { beforeAll, expect, test } from "vitest";
import { until } from "../../base/retry.ts";
import { containerName, docker, open, query, shell } from "../helpers/connect.ts";

// The container of the stack under test, as `up` left it: nothing here calls maintenance.

let startedAt: Date;

beforeAll(async () => {
  const { State } = await docker().getContainer(containerName("maintenance")).inspect();
  startedAt = new Date(State.StartedAt);
});

test("is healthy, which it is only after a run that succeeded", async () => {
  const health = await until(
    async () => {
      const { State } = await docker().getContainer(containerName("maintenance")).inspect();
      return State.Health?.Status === "healthy" ? State.Health.Status : undefined;
    },
    { deadlineMs: 120_000, everyMs: 1000 },
  );
  expect(health).toBe("healthy");
  expect((await shell("maintenance", "test -f /tmp/last-success")).exitCode).toBe(0);
});

test("has refreshed every view since it was started", async () => {
  const views = await query<{ view_name: string; refreshed_at: Date | null }>(
    "app_readonly",
    "direct",
    "select view_name, refreshed_at from maintenance.view_freshness order by 1",
  );
  expect(views).toHaveLength(5);
  for (const { view_name, refreshed_at } of views)
    expect([view_name, refreshed_at !== null && refreshed_at >= startedAt]).toEqual([view_name, true]);
});

test("has made partitions of every log, three months ahead", async () => {
  const ahead = await query<{ logs: number }>(
    "app_readonly",
    "direct",
    `
    select count(distinct parent_table)::integer as logs from maintenance.partitions
    where starts_at = (date_trunc('month', now() at time zone 'UTC') + interval '3 months') at time zone 'UTC'`,
  );
  expect(ahead).toEqual([{ logs: 8 }]);
});

test("has carried out every policy", async () => {
  // Policies themselves are the owner's and the application's to read.
  const client = await open("ai_workflow_owner", "direct");
  const { rows: left } = await client.query(
    "select table_name from public.data_retention_policies where is_active and (last_run_at is null or last_run_at < $1)",
    [startedAt],
  );
  await client.end();
  expect(left).toEqual([]);
});
