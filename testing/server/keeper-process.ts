import { spawn } from "node:child_process";
import { existsSync, openSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { stackFolder } from "../../infra/settings/places.ts";
import { ToolError, UsageError } from "../../base/errors.ts";
import type { Output } from "../../base/output.ts";
import type { Report } from "../../base/progress.ts";
import { until } from "../../base/retry.ts";
import { type ProcessIdentity, processStart } from "../../base/process-identity.ts";
import { readJsonIfWhole, replaceFile } from "../../base/text-file.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { boundPort, serverFiles } from "../description/files.ts";

const SERVE = [path.join(PACKAGE_ROOT, `cli/main${path.extname(import.meta.filename)}`), "testdb", "serve"];

type Keeper = Pick<ProcessIdentity, "pid" | "start">;

function keeperFile(name: string): string {
  return path.join(stackFolder(name), "testdb.pid");
}

function runningKeeper(name: string): Keeper | undefined {
  const keeper = readJsonIfWhole<Keeper>(keeperFile(name));
  return keeper && processStart(keeper.pid) === keeper.start ? keeper : undefined;
}

/** Starts the pool's keeper in the background, with a process that restarts it. */
export function startKeeper(name: string, port: number | undefined): void {
  const log = openSync(serverFiles(name).log, "a", 0o600);
  const args = ["--name", name, "--supervise", ...(port === undefined ? [] : ["--port", String(port)])];
  spawn(process.execPath, [...SERVE, ...args], { detached: true, stdio: ["ignore", log, log] }).unref();
}

const KEEPER_STARTS_MS = 20_000;

/** Makes sure that the keeper runs, and the HTTP API with it. @throws UsageError where it has another port */
export async function ensureKeeper(name: string, port: number | undefined, output: Output): Promise<void> {
  const { socket, log } = serverFiles(name);
  if (runningKeeper(name) && (await answers(socket))) {
    const open = boundPort(name);
    if (port === undefined || (open !== undefined && (port === 0 || port === open))) return;
    if (open !== undefined) {
      throw new UsageError(`The HTTP API of server "${name}" is on port ${open} already.`, {
        subject: "--port",
        problem: `${port} is another one`,
        remedy: "Use that port, or stop the server first.",
      });
    }
    output.progress(`server ${name}: starting the HTTP API again, with a port`);
    await stopKeeper(name);
  }
  if (port !== undefined && port !== 0 && !(await isFree(port))) {
    throw new ToolError(`Port ${port} is taken by another program.`, {
      subject: "--port",
      problem: "nothing else may listen there",
      remedy: "Choose another, or 0 for a free one.",
    });
  }
  rmSync(serverFiles(name).port, { force: true });
  startKeeper(name, port);
  const isUp = async () => (await answers(socket)) && (port === undefined || boundPort(name) !== undefined);
  if (await until(async () => (await isUp()) || undefined, { deadlineMs: KEEPER_STARTS_MS, everyMs: 20 })) return;
  throw new ToolError("The pool of test databases did not start.", { subject: log, problem: "says why" });
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen({ host: "127.0.0.1", port }, () => probe.close(() => resolve(true)));
  });
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}

const KEEPER_STOPS_MS = 10_000;

/** Ends the keeper, if it runs, and waits for its end. */
export async function stopKeeper(name: string): Promise<void> {
  const keeper = runningKeeper(name);
  if (keeper) {
    process.kill(keeper.pid, "SIGTERM");
    const isEnded = () => processStart(keeper.pid) !== keeper.start || undefined;
    if (!(await until(isEnded, { deadlineMs: KEEPER_STOPS_MS, everyMs: 20 })))
      throw new ToolError(`Process ${keeper.pid}, which keeps the pool of ${name}, does not end.`);
  }
  rmSync(keeperFile(name), { force: true });
}

/**
 * Runs the pool's keeper, and starts it again whenever it dies. Ends when the keeper ended well: it was told to, or its
 * server is gone.
 *
 * @param args of `aiwdb testdb serve`
 */
export async function superviseKeeper(
  name: string,
  args: readonly string[],
  signal: AbortSignal,
  report: Report,
): Promise<void> {
  // Written down, so that `stop` ends this process and no other.
  const self: Keeper = { pid: process.pid, start: processStart(process.pid) ?? "unknown" };
  replaceFile(keeperFile(name), JSON.stringify(self));
  while (!signal.aborted) {
    const child = spawn(process.execPath, [...SERVE, ...args], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const stop = () => void child.kill("SIGTERM");
    signal.addEventListener("abort", stop, { once: true });
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    signal.removeEventListener("abort", stop);
    // Stopped and forgotten meanwhile: there is nothing to keep.
    if (code === 0 || !existsSync(serverFiles(name).description)) return;
    report("the pool's keeper died; starting it again");
    await wait(200);
  }
}
