import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

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
  return program(process.execPath, args, env);
}

export function program(name: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(name, [...args], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
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

/** pytest with what examples/pytest/requirements.txt names, in the user's cache folder; made by the first test that asks. */
export async function pytest(): Promise<string> {
  const requirements = path.join(import.meta.dirname, "../../examples/pytest/requirements.txt");
  const hash = createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 16);
  const folder = path.join(
    process.env["XDG_CACHE_HOME"] || path.join(homedir(), ".cache"),
    "ai-workflow-database",
    `pytest-${hash}`,
  );
  if (!existsSync(folder)) {
    // Under another name until it is whole; Python finds its packages from where it lies, so it may be moved.
    const half = `${folder}.${process.pid}`;
    await run("python3", ["-m", "venv", half]);
    await run(path.join(half, "bin/python"), [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--disable-pip-version-check",
      "-r",
      requirements,
    ]);
    if (!existsSync(folder)) renameSync(half, folder);
  }
  return path.join(folder, "bin/python");
}

/** The examples of drivers with what their package-lock.json names, in the user's cache folder; made by the first test that asks. */
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
  // Always anew: another checkout may have made the folder, and may be gone.
  const link = path.join(folder, "node_modules/ai-workflow-database");
  symlinkSync(path.join(examples, "../.."), `${link}.${process.pid}`);
  renameSync(`${link}.${process.pid}`, link);
  return folder;
}

/** Waits until a condition holds, and says what it saw last if it never does: the deadline guards against hanging only. */
export async function until<T>(look: () => Promise<T>, holds: (seen: T) => boolean, deadlineMs = 150_000): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (Date.now() > end) throw new Error(`not after ${deadlineMs} ms: ${JSON.stringify(seen)}`);
    await wait(50);
  }
}
