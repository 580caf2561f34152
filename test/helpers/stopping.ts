import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, vi } from "vitest";
import { readMigrations } from "../../migrate/chain/files.ts";
import type { Running } from "./checkout.ts";
import { nextMigration } from "./next-migration.ts";
import { temporaryStacks, type TemporaryStacks } from "./temporary-stacks.ts";
import { mustSucceed } from "./real-stack.ts";
import { MIGRATIONS_FOLDER } from "./schema-database.ts";

// Set before the first test of a file.
export let temporary: TemporaryStacks;
export let stack: string;

/** Gives a file a stack with all migrations, whose `up` can be stopped. */
export function stackToStop(): void {
  beforeAll(async () => {
    temporary = await temporaryStacks();
    stack = temporary.add("stop", { rolloutPhase: 4 });
    mustSucceed(await temporary.up(stack));
  });
  afterAll(async () => {
    await temporary.sweep();
    temporary.checkout.remove();
  });
}

const slow = nextMigration(readMigrations(MIGRATIONS_FOLDER).at(-1)?.name ?? "", "take_long");
const migration = (part: "up" | "down") => path.join(temporary.checkout.root, "migrations", `${slow}.${part}.sql`);

/**
 * Processes of Pulumi's that have this test's checkout or state in their environment, by the names of their programs.
 */
export function plugins(): string[] {
  const home = path.dirname(temporary.checkout.root);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ");
        const isOurs = readFileSync(`/proc/${pid}/environ`, "utf8").includes(home);
        return isOurs && /pulumi-(resource|language)|cmd\/run/.test(command) ? [command] : [];
      } catch {
        return []; // ended meanwhile
      }
    });
}

/** How many sessions are in the slow migration. */
export const sleeping = () =>
  temporary.asOwner(stack, async (client) => {
    const { rows } = await client.query(
      "select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(300)%' and pid <> pg_backend_pid()",
    );
    return (rows as { n: number }[])[0]?.n;
  });

/**
 * Starts an `up` whose migration takes minutes, and waits until it runs. The migration goes with the test at the
 * latest.
 */
export async function upInMigration(): Promise<Running> {
  onTestFinished(removeSlowMigration);
  writeFileSync(
    migration("up"),
    "-- Phase: 4\n-- Why: a test needs one that takes minutes.\n-- Lock: none.\n\ncreate table public.half (id integer);\nselect pg_sleep(300);\n",
  );
  writeFileSync(migration("down"), "drop table public.half;\n");
  const running = temporary.checkout.start(["up", "--stack", stack, "--no-backup"]);
  let hasEnded = false;
  void running.result.then(() => (hasEnded = true));
  await vi.waitFor(async () => expect(hasEnded || (await sleeping()) === 1).toBe(true), {
    timeout: 110_000,
    interval: 100,
  });
  expect(hasEnded, running.output()).toBe(false);
  return running;
}

export function removeSlowMigration(): void {
  for (const part of ["up", "down"] as const) rmSync(migration(part), { force: true });
}
