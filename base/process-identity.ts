import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { hasCode } from "./errors.ts";

/** Whether reading a file of a process below /proc failed because the process ended, or is hidden from this user. */
export const isEndedOrHidden = (error: unknown): boolean => hasCode(error, "ENOENT", "ESRCH", "EACCES", "EPERM");

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return hasCode(error, "EPERM"); // another user's
  }
}

/**
 * When a process was started, in the kernel's own unit, or undefined if there is no such process. Tells the process
 * from a later one that got the same number, for example after a reboot.
 */
export function processStart(pid: number): string | undefined {
  if (!exists(pid)) return undefined;
  try {
    // The second field, the program's name, may hold spaces and brackets.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    // A zombie: it ended, and its parent has not waited for it.
    return fields[0] === "Z" ? undefined : fields[19];
  } catch (error) {
    if (!isEndedOrHidden(error)) throw error;
    return exists(pid) ? "unknown" : undefined; // without /proc, or where it hides the process, the number has to do
  }
}

/**
 * Within what a process number means one process: the running kernel and its PID namespace. Each container has a
 * namespace of its own. Two machines that share a home folder differ in it, and so do two containers that share a
 * volume.
 */
export function processSpace(): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch (error) {
    if (!isEndedOrHidden(error)) throw error;
    return hostname(); // no /proc on this system
  }
}

/** Names a process so that a process on another machine can tell which one is meant. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly start: string;
  readonly space: string;
  /** For people. */
  readonly host: string;
}

export function thisProcess(): ProcessIdentity {
  const { pid } = process;
  return { pid, start: processStart(pid) ?? "unknown", space: processSpace(), host: hostname() };
}

/** Whether a process is at work: "unknown" for one of another machine or container, whose numbers say nothing here. */
export function isAlive({ pid, start, space }: ProcessIdentity): boolean | "unknown" {
  return space === processSpace() ? processStart(pid) === start : "unknown";
}
