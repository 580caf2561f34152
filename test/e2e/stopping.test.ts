import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { temporaryStacks, type TemporaryStacks } from "../helpers/temporary-stacks.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

let temporary: TemporaryStacks;
let stack: string;
const SLOW = "0065_take_long";

beforeAll(async () => {
  temporary = await temporaryStacks();
  stack = temporary.add("stop", { rolloutPhase: 4 });
  mustSucceed(await temporary.up(stack));
});
afterAll(async () => {
  await temporary.sweep();
  temporary.checkout.remove();
});

const migration = (part: "up" | "down") => path.join(temporary.checkout.root, "migrations", `${SLOW}.${part}.sql`);

/** Processes of Pulumi's that have this test's checkout or state in their environment, by the names of their programs. */
function plugins(): string[] {
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

const sleeping = () =>
  temporary.asOwner(stack, async (client) => {
    const { rows } = await client.query(
      "select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(300)%' and pid <> pg_backend_pid()",
    );
    return (rows as { n: number }[])[0]?.n;
  });

/** Starts an `up` whose migration takes minutes, and waits until it runs. */
async function upInMigration() {
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

test("plugins of a Pulumi that is killed end with it, and the next up forgets what it was at", async () => {
  const running = await upInMigration();
  const pulumi = pulumiOf(running.pid!);
  expect(plugins().length).toBeGreaterThan(2);
  process.kill(pulumi!, "SIGKILL");
  expect((await running.result).exitCode).toBe(1);
  await vi.waitFor(() => expect(plugins()).toEqual([]), { timeout: 60_000 });
  expect(pendingOperations()).not.toEqual([]);
  await vi.waitFor(async () => expect(await sleeping()).toBe(0), { timeout: 60_000 });

  for (const part of ["up", "down"] as const) rmSync(migration(part));
  const { stderr } = mustSucceed(await temporary.up(stack));
  expect(stderr).toContain("the last run was cut off");
  expect(pendingOperations()).toEqual([]);
  expect(mustSucceed(await temporary.up(stack)).all).not.toContain("pending operation");
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
