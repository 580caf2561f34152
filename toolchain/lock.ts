import { readFileSync } from "node:fs";
import { open, readFile, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { privateFolder } from "./paths.ts";

const POLL_MS = 50;
/** A take-over lasts milliseconds; one that is older belongs to a process that died in it. */
const TAKEOVER_STALE_MS = 10_000;

/**
 * When the process was started, in the kernel's own unit, or undefined if there is no such process.
 *
 * Tells a process from a later one that got the same number, e.g. after a reboot.
 */
export function processStart(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return undefined;
  }
  try {
    // The second field, the program's name, may hold spaces and brackets.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    // A process that ended and was not waited for, as below an init that reaps nobody.
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return "unknown"; // no /proc on this system: the number has to do
  }
}

interface Holder {
  pid: number;
  start: string;
  /** For people. */
  since?: string;
}

async function readHolder(path: string): Promise<Holder | "none" | "unreadable"> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Holder;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? "none" : "unreadable";
  }
}

function isAlive(holder: Holder): boolean {
  return processStart(holder.pid) === holder.start;
}

async function createExclusively(path: string, content: string): Promise<boolean> {
  try {
    const file = await open(path, "wx", 0o600);
    await file.writeFile(content);
    await file.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function isOlderThan(path: string, ms: number): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).mtimeMs > ms;
  } catch {
    return false;
  }
}

/** Removes a dead process' lock. A second file guards this, so that nobody's fresh lock is removed in its place. */
async function removeStale(path: string): Promise<void> {
  const guard = `${path}.takeover`;
  if (await isOlderThan(guard, TAKEOVER_STALE_MS)) await rm(guard, { force: true });
  if (!(await createExclusively(guard, ""))) return;
  try {
    const holder = await readHolder(path);
    const stale =
      holder === "unreadable" ? await isOlderThan(path, TAKEOVER_STALE_MS) : holder !== "none" && !isAlive(holder);
    if (stale) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

/**
 * Runs an action while this process alone holds the lock file; a lock whose process is dead is taken over.
 *
 * @param onWait called once, with the holder's process number and the time it took the lock, if the lock is held by another
 *   process; what it throws ends the wait
 */
export async function withLock<T>(
  path: string,
  action: () => Promise<T>,
  onWait?: (pid: number, since: string) => void,
): Promise<T> {
  privateFolder(dirname(path));
  const mine = JSON.stringify({
    pid: process.pid,
    start: processStart(process.pid) ?? "unknown",
    since: new Date().toISOString(),
  } satisfies Holder);
  let told = false;
  while (!(await createExclusively(path, mine))) {
    const holder = await readHolder(path);
    if (holder === "none") continue;
    if (holder !== "unreadable" && isAlive(holder)) {
      if (!told) onWait?.(holder.pid, holder.since ?? "some time ago");
      told = true;
    } else {
      await removeStale(path);
    }
    await wait(POLL_MS);
  }
  try {
    return await action();
  } finally {
    await rm(path, { force: true });
  }
}
