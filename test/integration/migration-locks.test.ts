import type { Client } from "pg";
import { describe, expect, test } from "vitest";
import { MigrationRunningError } from "../../migrate/run/runner.ts";
import { failureOf, MigrationDatabase } from "../helpers/migration-database.ts";

const database = new MigrationDatabase();

/** Reads until told to stop; after each read, in which of the tries it was answered. */
async function triesServed(reader: Client, until: AbortSignal): Promise<Set<number>> {
  const served = new Set<number>();
  while (!until.aborted) {
    await reader.query("select from public.users");
    served.add(database.lines.filter((line) => line.startsWith("applying ")).length);
  }
  return served;
}

/** How often the reader was seen waiting for somebody's lock. */
async function queuesBehind(reader: Client, until: AbortSignal): Promise<number> {
  const watcher = await database.open();
  const { rows } = await reader.query<{ pid: number }>("select pg_backend_pid() as pid");
  let seen = 0;
  while (!until.aborted) {
    const blocked = await watcher.query("select from unnest(pg_blocking_pids($1))", [rows[0]?.pid]);
    if (blocked.rowCount) seen += 1;
  }
  return seen;
}

describe("at once", () => {
  test("of twenty migrators exactly one applies each migration", async () => {
    database.writeThree();
    const clients = await Promise.all(Array.from({ length: 20 }, () => database.open()));
    const results = await Promise.allSettled(clients.map((each) => database.up(3, each)));
    const applied = results.flatMap((result) => (result.status === "fulfilled" ? result.value.applied : []));
    expect(applied).toEqual(["0001_create_users", "0002_create_mails", "0003_add_name"]);
    const failures = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
    expect(failures.filter((failure) => !(failure instanceof MigrationRunningError))).toEqual([]);
    expect(await database.applied()).toHaveLength(3);
  });

  test("a lock held for a while is waited for in short tries that block no reader for long", async () => {
    database.writeThree();
    await database.up(2);
    const holder = await database.open();
    await holder.query("begin; select from public.users");
    const running = database.up();
    await expect.poll(() => database.lines.some((line) => line.includes("try 2 of 5"))).toBe(true);
    await holder.query("commit");
    expect(await running).toEqual({ applied: ["0003_add_name"] });
  });

  test("a lock held for good ends after five tries with its holder named; other readers wait for one try at most", async () => {
    database.writeThree();
    await database.up(2);
    const holder = await database.open();
    await holder.query("begin; select from public.users");
    const reader = await database.open();
    const reading = new AbortController();
    database.lines.length = 0;
    const running = failureOf(database.up());
    const served = triesServed(reader, reading.signal);
    const queued = queuesBehind(reader, reading.signal);
    const error = await running;
    reading.abort();
    // The lock that is held for good was never given back: they were served between the tries, each of which ends by
    // itself.
    expect(await queued).toBeGreaterThan(0);
    expect([...(await served)].filter((tries) => tries >= 1 && tries < 5).length).toBeGreaterThanOrEqual(3);
    expect(database.lines.filter((line) => line === "applying 0003_add_name")).toHaveLength(5);
    expect(error.message).toMatch(
      /^0003_add_name\.up\.sql:2: canceling statement due to lock timeout \[SQLSTATE 55P03\]/,
    );
    expect(error.message).toContain(`holds locks on users (application "runner test"`);
    expect(await database.applied()).toHaveLength(2);
  });

  test("a try waits for a lock half a second, whatever the role has set", async () => {
    database.write(
      "0001_show_timeout",
      "do $$ begin raise exception 'waits %', current_setting('lock_timeout'); end $$;",
    );
    await database.client.query("set lock_timeout = '1h'");
    expect((await failureOf(database.up())).message).toContain("waits 500ms");
  });
});
