import { statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { lock as acquire } from "proper-lockfile";
import { hasCode, StateError } from "./errors.ts";
import { privateFolder } from "./paths.ts";
import { isAlive, type ProcessIdentity, thisProcess } from "./process-identity.ts";
import type { Report } from "./progress.ts";
import { readJsonIfWhole, replaceFile } from "./text-file.ts";

const POLL_MS = 50;
/** A holder gives a sign of life this often. */
const UPDATE_MS = 10_000;
/**
 * A lock without a sign of life for this long has lost its holder. NFS clients may show a folder's time a minute late
 * (`acdirmax`, https://man7.org/linux/man-pages/man5/nfs.5.html).
 */
const STALE_MS = 90_000;
/**
 * The same for a holder that is known to be dead. Another process may have taken the lock meanwhile, and may not have
 * written its name yet.
 */
const DEAD_MS = 2_000;
/** A holder writes its name after it took the lock. One that has not done so within this time was killed in between. */
const NAMELESS_MS = 1_000;

interface Holder extends ProcessIdentity {
  /** When it took the lock, as ISO 8601. */
  readonly since: string;
}

/** A lock that this process has, or had. */
export interface HeldLock {
  /** Aborted when another process took the lock, for example because this one stood still for minutes. */
  readonly signal: AbortSignal;
  /** To be called before each write. @throws StateError when the lock was lost */
  assertHeld(): void;
}

export interface LockOptions {
  /**
   * Called once when another process holds the lock and is at work, with its name such as "process 12 on laptop
   * since ...". An error that it throws ends the wait.
   */
  readonly onWait?: ((holder: string) => void) | undefined;
  /**
   * Called once with the name of a holder on another machine or in a container. Only time shows whether that is at
   * work.
   */
  readonly onDoubt?: ((holder: string) => void) | undefined;
  /**
   * A holder on another machine loses the lock when it gives no sign of life for this long, in milliseconds.
   *
   * @default 90_000
   */
  readonly staleMs?: number;
  /** Time between two signs of life, in milliseconds. @default 10_000 */
  readonly updateMs?: number;
}

/** Tells the user what a command waits for while another command does the same thing. */
export const reportWaiting = (what: string, report: Report): LockOptions => ({
  onWait: (holder) => report(`${what}: waiting for ${holder}, which is at it`),
  onDoubt: (holder) => report(`${what}: waiting to see whether ${holder} is still at it`),
});

const nameOf = (holder: Holder | undefined): string =>
  holder === undefined ? "an unknown process" : `process ${holder.pid} on ${holder.host} since ${holder.since}`;

/**
 * Runs an action while this process alone holds a lock. The lock works across containers and machines that share the
 * folder: the holder touches it again and again. When the holder is known to be dead, the lock is taken over at once.
 * Otherwise it is taken over when nobody touched it for 90 s.
 *
 * @param path of a file that names the holder; the lock itself is the folder `<path>.held`
 * @throws StateError when the lock is lost while the action runs. The action must call `assertHeld` before it writes.
 */
export async function withLock<T>(
  path: string,
  action: (lock: HeldLock) => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  privateFolder(dirname(path));
  const lost = new AbortController();
  const release = await take(path, options, (reason) =>
    lost.abort(
      new StateError("The lock was lost, so that nothing more is changed:", {
        subject: path,
        problem: `another process took it, since this one gave no sign of life (${reason})`,
        remedy: "Wait until that one has ended, then run the command again.",
      }),
    ),
  );
  try {
    const isLost = new Promise<never>((_resolve, reject) =>
      lost.signal.addEventListener("abort", () => reject(lost.signal.reason as Error)),
    );
    isLost.catch(() => {}); // the race below reports it
    const held = { signal: lost.signal, assertHeld: () => lost.signal.throwIfAborted() };
    return await Promise.race([action(held), isLost]);
  } finally {
    if (!lost.signal.aborted) {
      await rm(path, { force: true });
      await release();
    }
  }
}

async function take(
  path: string,
  { onWait, onDoubt, staleMs = STALE_MS, updateMs = UPDATE_MS }: LockOptions,
  onLost: (reason: string) => void,
): Promise<() => Promise<void>> {
  const folder = `${path}.held`;
  const first = Date.now();
  let toldWait = false;
  let toldDoubt = false;
  let touched: number | undefined;
  for (;;) {
    const holder = readJsonIfWhole<Holder>(path);
    const alive = holder === undefined ? "unknown" : isAlive(holder);
    try {
      const release = await acquire(path, {
        realpath: false,
        lockfilePath: folder,
        stale: alive === false ? DEAD_MS : staleMs,
        update: updateMs,
        onCompromised: ({ message }) => onLost(message),
      });
      replaceFile(path, JSON.stringify({ ...thisProcess(), since: new Date().toISOString() } satisfies Holder));
      return release;
    } catch (error) {
      if (!hasCode(error, "ELOCKED")) throw error;
    }
    const mtime = statSync(folder, { throwIfNoEntry: false })?.mtimeMs;
    const hasMoved = touched !== undefined && mtime !== undefined && mtime !== touched;
    touched ??= mtime;
    if (!toldWait && (alive === true || (alive === "unknown" && holder !== undefined && hasMoved))) {
      toldWait = true;
      onWait?.(nameOf(holder));
    }
    if (!toldDoubt && !toldWait && alive === "unknown" && (holder !== undefined || Date.now() - first > NAMELESS_MS)) {
      toldDoubt = true;
      onDoubt?.(nameOf(holder));
    }
    await wait(POLL_MS);
  }
}
