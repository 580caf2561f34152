import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { hostname, uptime } from "node:os";
import path from "node:path";
import { PROJECT } from "../infra/settings/names.ts";
import { hasCode } from "../base/errors.ts";
import { readJsonIfWhole, replaceFile } from "../base/text-file.ts";
import { folders } from "../base/paths.ts";
import { isAlive, isEndedOrHidden, type ProcessIdentity, processStart, thisProcess } from "../base/process-identity.ts";
import { backendFolder, backendUrl } from "./backend.ts";
import { inUse } from "./refusal.ts";

/** A lock file of Pulumi's. */
interface PulumiLock {
  readonly pid: number;
  readonly username: string;
  readonly hostname: string;
  readonly timestamp: string;
}

/** A run of Pulumi that we started. */
interface PulumiRun extends ProcessIdentity {
  /** The id that its plugins have in their environment. Earlier releases wrote none. */
  readonly run?: string;
}

/** More runs than one command has. */
const RECORDED_RUNS = 8;

const recordFile = (stack: string): string => path.join(folders().state, "locks", `${stack}.pulumi.json`);

/** The last runs of Pulumi that we started on a stack, the newest first. */
export function recordedRuns(stack: string): readonly PulumiRun[] {
  // Without a record, we judge a lock as one of a Pulumi that we did not start.
  return readJsonIfWhole<PulumiRun[]>(recordFile(stack)) ?? [];
}

/**
 * Notes which process runs Pulumi on a stack. Pulumi's own lock has only a process number and a host name, and several
 * containers may have the same ones.
 */
export function recordPulumi(stack: string, pid: number, id: string): void {
  const run: PulumiRun = { ...thisProcess(), run: id, pid, start: processStart(pid) ?? "ended" };
  const runs = [run, ...recordedRuns(stack).filter((each) => each.pid !== pid)].slice(0, RECORDED_RUNS);
  replaceFile(recordFile(stack), JSON.stringify(runs));
}

/** Forgets the runs on a stack that is gone. */
export function forgetPulumiRuns(stack: string): void {
  rmSync(recordFile(stack), { force: true });
}

/**
 * Removes the locks of a stack in a file backend whose processes are gone. A killed `up` leaves such a lock.
 *
 * @throws StateError naming the holder when it is still at work, or when nobody can tell
 */
export function clearDeadLocks(stack: string, warn: (line: string) => void): void {
  const folder = backendFolder(backendUrl());
  if (!folder) return;
  const locks = path.join(folder, "locks", "organization", PROJECT, stack);
  if (!existsSync(locks)) return;
  for (const name of readdirSync(locks).filter((entry) => entry.endsWith(".json"))) {
    const file = path.join(locks, name);
    const holder = readJsonIfWhole<PulumiLock>(file);
    if (holder === undefined) continue; // released while we looked, or half written: Pulumi itself decides
    if (isGone(stack, holder)) {
      warn(`the last run on stack "${stack}" (process ${holder.pid}) was cut off; continuing from where it stopped`);
      rmSync(file, { force: true });
      rmSync(`${file}.attrs`, { force: true });
      continue;
    }
    throw inUse(
      stack,
      `held by process ${holder.pid} of ${holder.username} on ${holder.hostname} since ${holder.timestamp}`,
      `Wait until it has ended. If it is gone for good (another machine or container that crashed): \`aiwdb pulumi --stack ${stack} -- cancel\`.`,
    );
  }
}

/** Whether the process that holds a lock is gone for certain. */
function isGone(stack: string, { pid, hostname: host, timestamp }: PulumiLock): boolean {
  if (host !== hostname()) return false;
  const run = recordedRuns(stack).find((each) => each.pid === pid);
  if (run) return isAlive(run) === false;
  // A Pulumi that we did not start. Its number may be of another container that has our host name, as with
  // `--network host`. From within a container we do not see such a process.
  if (!seesEveryProcess()) return Date.parse(timestamp) < Date.now() - uptime() * 1_000;
  return !isAtWork(pid);
}

/** Inode of the PID namespace that the kernel starts with (PROC_PID_INIT_INO, include/linux/proc_ns.h). */
const FIRST_NAMESPACE = "pid:[4026531836]";

/** Whether this process sees the processes of all containers, with the numbers that they have within. */
function seesEveryProcess(): boolean {
  try {
    return readlinkSync("/proc/self/ns/pid") === FIRST_NAMESPACE;
  } catch (error) {
    return hasCode(error, "ENOENT"); // a system without /proc has no namespaces
  }
}

/** Whether the process of a lock is at work. It is not if it ended, or if another program got its number. */
function isAtWork(pid: number): boolean {
  if (!existsSync("/proc/self/status")) return processStart(pid) !== undefined;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .some((name) => {
      try {
        const status = readFileSync(`/proc/${name}/status`, "utf8");
        const within = /^NSpid:.*?(\d+)$/m.exec(status)?.[1] ?? name;
        return Number(within) === pid && /^Name:.*pulumi/m.test(status) && processStart(Number(name)) !== undefined;
      } catch (error) {
        if (!isEndedOrHidden(error)) throw error;
        return false;
      }
    });
}
