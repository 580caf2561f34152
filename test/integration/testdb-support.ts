import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";

export const MAIN = path.join(import.meta.dirname, "../../cli/main.ts");

export interface Result {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A home of its own, so that servers for tests started here are nobody else's. Set for this process too. */
export function ownHome(): { remove(): void } {
  const home = mkdtempSync(path.join(tmpdir(), "aiwdb-testdb-"));
  process.env["XDG_DATA_HOME"] = path.join(home, "data");
  process.env["XDG_STATE_HOME"] = path.join(home, "state");
  return { remove: () => rmSync(home, { recursive: true, force: true }) };
}

/** Runs `aiwdb` to its end. */
export function aiwdb(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  return node([MAIN, ...args], env);
}

/** Runs a script in a process of its own. */
export function node(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString("utf8")));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")));
    child.on("error", reject);
    child.on("close", (exitCode) => resolve({ exitCode, stdout, stderr }));
  });
}

export function mustSucceed(result: Result): Result {
  if (result.exitCode !== 0) throw new Error(`ended with ${result.exitCode}:\n${result.stdout}${result.stderr}`);
  return result;
}

/** Waits until a condition holds, and says what it saw last if it never does. */
export async function until<T>(look: () => Promise<T>, holds: (seen: T) => boolean, deadlineMs = 60_000): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (Date.now() > end) throw new Error(`not after ${deadlineMs} ms: ${JSON.stringify(seen)}`);
    await wait(50);
  }
}
