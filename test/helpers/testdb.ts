import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { readServer } from "../../testing/description/server.ts";
import { openRegistry } from "../../testing/pool/registry.ts";
import { renewCertificates } from "../../testing/server/local.ts";
import { pythonWith } from "./python.ts";

const run = promisify(execFile);

export const MAIN = path.join(import.meta.dirname, "../../cli/main.ts");
/** The module that scripts in processes of their own import. */
export const LIBRARY = path.join(import.meta.dirname, "../../testing/databases/test-database.ts");
export const MIGRATIONS = path.join(import.meta.dirname, "../../migrations");

export interface Result {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A home folder for the tests of this file, so that they share no server with others. Also set for this process. */
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
  return program(process.execPath, args, env);
}

export function program(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd = process.cwd(),
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(name, [...args], { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
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

/** Gives the server new certificates and returns when they have expired. */
export async function expireCertificates(lifeMs: number): Promise<void> {
  await renewCertificates(readServer(), lifeMs);
  await until(
    () =>
      openRegistry(readServer()).then(
        (registry) => registry.close(),
        (error: Error) => error.message,
      ),
    (message) => /have expired/.test(String(message)),
  );
}

/** Python with pytest and what examples/pytest/requirements.txt names. */
export function pytest(): Promise<string> {
  return pythonWith(path.join(import.meta.dirname, "../../examples/pytest/requirements.txt"), "pytest");
}

/** The drivers' examples with their packages, in the user's cache folder. The first test that asks makes them. */
export async function driverExamples(): Promise<string> {
  const examples = path.join(import.meta.dirname, "../../examples/drivers");
  const hash = createHash("sha256");
  for (const file of readdirSync(examples).toSorted()) hash.update(readFileSync(path.join(examples, file)));
  const folder = path.join(
    process.env["XDG_CACHE_HOME"] || path.join(homedir(), ".cache"),
    "ai-workflow-database",
    `drivers-${hash.digest("hex").slice(0, 16)}`,
  );
  if (!existsSync(folder)) {
    const half = `${folder}.${process.pid}`;
    cpSync(examples, half, { recursive: true });
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: half });
    if (!existsSync(folder)) renameSync(half, folder);
  }
  // Written every time: another checkout may have made the folder, and that checkout may be gone.
  const link = path.join(folder, "node_modules/ai-workflow-database");
  symlinkSync(path.join(examples, "../.."), `${link}.${process.pid}`);
  renameSync(`${link}.${process.pid}`, link);
  return folder;
}

/** Waits until a condition holds. Fails after a long deadline, with the last value that it saw. */
export async function until<T>(look: () => Promise<T>, holds: (seen: T) => boolean, deadlineMs = 150_000): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (Date.now() > end) throw new Error(`not after ${deadlineMs} ms: ${JSON.stringify(seen)}`);
    await wait(50);
  }
}
