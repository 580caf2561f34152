import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { ToolError } from "./errors.ts";
import { lastLinesOf } from "./text-file.ts";

/** How many of the last lines of a failed program's output are shown. */
const SHOWN_LINES = 15;

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** The program is stopped when it takes longer. @default no limit */
  readonly timeoutMs?: number;
}

/**
 * Runs a program and returns what it wrote to stdout.
 *
 * @throws ToolError with the last lines of its output when it is missing, fails or takes too long
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { cwd, env = process.env, timeoutMs } = options;
  const child: ChildProcess = spawn(program, args, {
    cwd,
    env,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  let stdout = "";
  let all = "";
  // There are no streams where this process has no file descriptor left for them; the error follows.
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    all += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (all += text));
  const outcome = await new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => {
      if (code === 0) resolve(undefined);
      else if (child.killed && timeoutMs !== undefined) resolve(`did not end within ${timeoutMs / 1000} s`);
      else resolve(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`);
    });
  });
  if (outcome === undefined) return stdout;
  const tail = lastLinesOf(all, SHOWN_LINES);
  throw new ToolError(`${[program, ...args.slice(0, 3)].join(" ")}: ${outcome}.${tail ? `\n${tail}` : ""}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // a shell passes over such a file too, whatever keeps it from being run
  }
}

/** Every executable of this name on PATH, then in further folders, in order. */
export function findPrograms(name: string, more: readonly string[] = []): string[] {
  const path = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return [...path, ...more].map((folder) => join(folder, name)).filter(isExecutable);
}
