import { spawn } from "node:child_process";
import { constants } from "node:os";
import { type Problem, ToolError } from "../base/errors.ts";

/**
 * Runs a program with the terminal of this process. From then on this process outlives interrupts: the terminal sends
 * them to both, the program decides what they mean, and the caller puts things in order when the program has ended.
 *
 * @param problem of a program that cannot be started. @default the message of the operating system
 * @returns its exit code; 128 and the signal's number where a signal ended it
 * @throws ToolError when it cannot be started
 */
export function runInTerminal(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  problem?: Problem,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: "inherit", env });
    process.on("SIGINT", () => {}).on("SIGTERM", (signal) => void child.kill(signal));
    child.on("error", (cause) => {
      const problems = [problem ?? { subject: program, problem: cause.message }];
      reject(new ToolError(`${program} could not be started.`, problems, { cause }));
    });
    child.on("close", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}

/**
 * Runs psql with the terminal of this process. The command's exit code becomes 0 or 1 by psql's.
 *
 * @param remedy where psql is not installed
 * @throws ToolError when it cannot be started
 */
export async function runPsql(args: readonly string[], env: NodeJS.ProcessEnv, remedy: string): Promise<void> {
  const problem = { subject: "psql", problem: "is not on PATH", remedy };
  const code = await runInTerminal("psql", args, { ...process.env, ...env }, problem);
  process.exitCode = code === 0 ? 0 : 1;
}
