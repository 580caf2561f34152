import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { ToolError } from "../base/errors.ts";
import type { HeldLock } from "../base/lock.ts";
import { isAlive, isEndedOrHidden } from "../base/process-identity.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { backendUrl } from "./backend.ts";
import { recordedRuns, recordPulumi } from "./pulumi-lock.ts";

/** One stack with everything a `pulumi` process on it needs. */
export interface Session {
  readonly stack: string;
  readonly pulumi: string;
  readonly env: NodeJS.ProcessEnv;
  /** Arguments that name the stack. */
  readonly stackArguments: readonly string[];
  /** Folder beside the state for settings files that must not be written in the checkout. */
  readonly settingsFolder: string;
  /** The lock under which Pulumi may write. A command that only reads has none. */
  readonly lock?: HeldLock;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Whether the user or the system asked it to end. */
  readonly isStopped: boolean;
}

/** Runs `pulumi` and returns what it prints, without showing it. */
export function capture(session: Session, args: readonly string[], cwd: string = PACKAGE_ROOT): Promise<RunResult> {
  return run(session, args, cwd, "capture");
}

/**
 * Runs `pulumi` and shows its display to the user; with `json` on stderr.
 *
 * @param unsaid paragraphs to leave out, because we do what they advise
 */
export function display(session: Session, args: readonly string[], json: boolean, unsaid?: RegExp): Promise<RunResult> {
  return run(session, args, PACKAGE_ROOT, json ? "stderr" : "terminal", unsaid);
}

/** Whether Pulumi may take its lock on the stack's own state for longer than a moment. */
const isRecorded = ({ env }: Session, [verb = ""]: readonly string[]): boolean =>
  !["preview", "stack"].includes(verb) && env["PULUMI_BACKEND_URL"] === backendUrl();

/** Says to which run a process belongs. Pulumi's plugins inherit it, and are in process groups of their own. */
const RUN_VARIABLE = "AIWDB_RUN";

function run(
  session: Session,
  args: readonly string[],
  cwd: string,
  mode: "capture" | "stderr" | "terminal",
  unsaid?: RegExp,
): Promise<RunResult> {
  session.lock?.assertHeld();
  const id = randomUUID();
  return new Promise((resolve, reject) => {
    const isShown = mode === "terminal" && process.stdout.isTTY;
    const child = spawn(session.pulumi, [...args, ...(isShown && unsaid ? ["--color", "always"] : [])], {
      cwd,
      env: { ...session.env, [RUN_VARIABLE]: id },
      stdio: ["inherit", isShown && !unsaid ? "inherit" : "pipe", "pipe"],
    });
    if (child.pid !== undefined && isRecorded(session, args)) recordPulumi(session.stack, child.pid, id);
    const output = { stdout: "", stderr: "" };
    child.stdout?.on("data", (chunk: Buffer) => {
      const text = chunk.toString("utf8");
      output.stdout += text;
      if (mode !== "capture")
        (mode === "stderr" ? process.stderr : process.stdout).write(unsaid ? text.replace(unsaid, "") : text);
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      output.stderr += chunk.toString("utf8");
      if (mode !== "capture") process.stderr.write(chunk);
    });
    let isStopped = false;
    // An interrupt goes to the whole process group. Pulumi ends in order, and this process ends after it.
    const wait = () => void (isStopped = true);
    // Other signals come to this process alone. Pulumi takes an interrupt as "finish what has begun, begin nothing
    // more".
    const stop = () => {
      isStopped = true;
      child.kill("SIGINT");
    };
    process.on("SIGINT", wait).on("SIGTERM", stop).on("SIGHUP", stop);
    session.lock?.signal.addEventListener("abort", stop);
    child.on("error", (cause) =>
      reject(new ToolError(`Pulumi could not be started (${session.pulumi}).`, [], { cause })),
    );
    child.on("close", (code, signal) => {
      process.off("SIGINT", wait).off("SIGTERM", stop).off("SIGHUP", stop);
      session.lock?.signal.removeEventListener("abort", stop);
      if (signal !== null) endPlugins(new Set([id]));
      resolve({ exitCode: code ?? (signal ? 1 : 0), isStopped, ...output });
    });
  });
}

/** Ends plugins of earlier runs on the stack whose Pulumi was killed. Without this they would stay for an hour. */
export function endLeftPlugins(stack: string): void {
  const dead = recordedRuns(stack).filter((each) => isAlive(each) === false);
  endPlugins(new Set(dead.flatMap(({ run: id }) => (id === undefined ? [] : [id]))));
}

function endPlugins(ids: ReadonlySet<string>): void {
  if (ids.size === 0) return;
  for (const pid of pids()) {
    try {
      const variables = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      const id = variables.find((each) => each.startsWith(`${RUN_VARIABLE}=`))?.slice(RUN_VARIABLE.length + 1);
      // A plugin has nothing that it would have to put in order first.
      if (id !== undefined && ids.has(id)) process.kill(pid, "SIGKILL");
    } catch (error) {
      if (!isEndedOrHidden(error)) throw error;
    }
  }
}

function pids(): number[] {
  const names = existsSync("/proc") ? readdirSync("/proc") : []; // only Linux has it
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}
