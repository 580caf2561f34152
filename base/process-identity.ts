import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

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

/**
 * Where process numbers mean the same: the running kernel and its PID namespace, which each container has of its own. Two
 * machines with one home folder, and two containers with one volume, differ in it.
 */
export function processSpace(): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname(); // no /proc on this system
  }
}

/** A process, in a form that another process on another machine can read. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly start: string;
  readonly space: string;
  /** For people. */
  readonly host: string;
}

export function thisProcess(): ProcessIdentity {
  return {
    pid: process.pid,
    start: processStart(process.pid) ?? "unknown",
    space: processSpace(),
    host: hostname(),
  };
}

/** Whether a process is at work: "unknown" for one of another machine or container, whose numbers say nothing here. */
export function isAlive({ pid, start, space }: ProcessIdentity): boolean | "unknown" {
  return space === processSpace() ? processStart(pid) === start : "unknown";
}
