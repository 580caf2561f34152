import { spawn } from "node:child_process";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../base/versions.ts";

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a program and returns what it printed; an exit code other than 0 is an error with the end of its output. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd ?? PACKAGE_ROOT,
      env: options.env ?? process.env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let all = "";
    child.stdout.on("data", (chunk: Buffer) => ((stdout += chunk.toString()), (all += chunk.toString())));
    child.stderr.on("data", (chunk: Buffer) => (all += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${program} ${args.join(" ")} ended with ${code}:\n${all.slice(-2_000)}`));
    });
  });
}

/** Runs this package's own command line, of this checkout or a copy. */
export function aiwdb(args: readonly string[], root: string = PACKAGE_ROOT): Promise<string> {
  return run(join(root, "bin/aiwdb"), args, { cwd: root });
}
