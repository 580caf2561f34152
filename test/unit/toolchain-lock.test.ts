import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type HeldLock, type LockOptions, withLock } from "../../base/lock.ts";
import { thisProcess } from "../../base/process-identity.ts";

let root: string;
let lock: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "aiwdb-lock-"));
  lock = join(root, "locks/one");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const LONG_AGO = new Date(Date.now() - 3_600_000);

/** Leaves a lock as a killed process does. */
function leave(holder: unknown, touched = LONG_AGO): void {
  mkdirSync(`${lock}.held`, { recursive: true });
  if (holder !== undefined) writeFileSync(lock, typeof holder === "string" ? holder : JSON.stringify(holder));
  utimesSync(`${lock}.held`, touched, touched);
}

const since = LONG_AGO.toISOString();
const dead = () => ({ ...thisProcess(), pid: spawnSync(process.execPath, ["--version"]).pid, start: "1", since });
const elsewhere = (pid = 1) => ({ pid, start: "1", space: "another kernel", host: "elsewhere", since });
const take = (options?: LockOptions) => withLock(lock, async () => "done", options);

test.each([
  ["a dead process", dead],
  [
    "a process whose number now belongs to a later one",
    () => ({ ...thisProcess(), start: "not when it started", since }),
  ],
  ["a process of another machine that gives no sign of life", elsewhere],
  ["a process that was killed before it wrote its name", () => undefined],
  ["a process that was killed while it wrote its name", () => "{"],
])("takes over the lock of %s", async (_whose, holder) => {
  leave(holder());
  expect(await take()).toBe("done");
  expect(readdirSync(join(root, "locks"))).toEqual([]);
});

test("takes a dead process' lock without waiting for the time that a silent one has", async () => {
  leave(dead(), new Date());
  const told: string[] = [];
  expect(await take({ onWait: (holder) => told.push(holder), onDoubt: (holder) => told.push(holder) })).toBe("done");
  expect(told).toEqual([]);
});

test("waits for a living holder and tells who it is, once", async () => {
  const told: string[] = [];
  let release = () => {};
  const first = withLock(lock, () => new Promise<void>((resolve) => (release = resolve)));
  while (!existsSync(lock)) await new Promise((resolve) => setTimeout(resolve, 5));
  await take({
    onWait: (holder) => {
      told.push(holder);
      setTimeout(release, 200); // not at once, so that it is found a second time
    },
  });
  await first;
  expect(told).toEqual([expect.stringMatching(new RegExp(`^process ${process.pid} on .+ since \\d{4}-.*Z$`))]);
});

test("releases the lock when the action fails", async () => {
  await expect(withLock(lock, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(readdirSync(join(root, "locks"))).toEqual([]);
});

test("tells a holder that another process took its lock, and takes nothing from that one", async () => {
  let held: HeldLock | undefined;
  const losing = withLock(
    lock,
    (mine) => {
      held = mine;
      mine.assertHeld();
      leave(elsewhere(), new Date(Date.now() + 1_000)); // never the millisecond in which this one took it
      return new Promise(() => {});
    },
    { updateMs: 1_000 },
  );
  await expect(losing).rejects.toThrow(
    /^The lock was lost, so that nothing more is changed:\n- .*another process took it/,
  );
  expect(held?.signal.aborted).toBe(true);
  expect(() => held?.assertHeld()).toThrow("The lock was lost");
  expect(JSON.parse(readFileSync(lock, "utf8"))).toMatchObject({ host: "elsewhere" });
  expect(existsSync(`${lock}.held`)).toBe(true);
});

const canUnshare = spawnSync("unshare", ["--pid", "--fork", "--mount-proc", "true"]).status === 0;

/** A process that takes the lock, says so, and keeps it until it is killed; in a PID namespace of its own. */
function holdInNamespace(): ReturnType<typeof spawn> {
  const module = join(import.meta.dirname, "../../base/lock.ts");
  const script = `import { withLock } from ${JSON.stringify(module)};
    await withLock(${JSON.stringify(lock)}, async () => {
      console.log(process.pid);
      setInterval(() => {}, 1000);
      await new Promise(() => {});
    }, { updateMs: 1000 });`;
  return spawn(
    "unshare",
    ["--pid", "--fork", "--kill-child", "--mount-proc", process.execPath, "--input-type=module", "-e", script],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
}

test.runIf(canUnshare)(
  "a lock holds between two PID namespaces, whose process numbers say nothing to each other",
  async () => {
    const holder = holdInNamespace();
    const [pid] = (await once(holder.stdout!, "data")) as [Buffer];
    expect(Number(pid)).toBeLessThan(10);
    const told: string[] = [];
    const waiting = take({
      onDoubt: (who) => told.push(`perhaps ${who.split(" on ")[0]}`),
      onWait: (who) => {
        told.push(who.split(" on ")[0] ?? "");
        throw new Error("at work");
      },
    });
    await expect(waiting).rejects.toThrow("at work");
    expect(told).toEqual([`perhaps process ${Number(pid)}`, `process ${Number(pid)}`]);

    const ended = once(holder, "exit");
    holder.kill("SIGKILL");
    await ended;
    expect(await take({ staleMs: 3_000 })).toBe("done");
  },
);

test.runIf(canUnshare)("a holder that stood still while another PID namespace took its lock stops", async () => {
  const holder = holdInNamespace();
  await once(holder.stdout!, "data");
  const children = readFileSync(`/proc/${holder.pid}/task/${holder.pid}/children`, "utf8").trim();
  process.kill(Number(children), "SIGSTOP");
  try {
    expect(await take({ staleMs: 3_000 })).toBe("done");
  } finally {
    process.kill(Number(children), "SIGCONT");
  }
  const [code] = (await once(holder, "exit")) as [number];
  expect(code).toBe(1);
});
