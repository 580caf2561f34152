import { spawn } from "node:child_process";
import { openSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { stackFolder } from "../../infra/settings/places.ts";
import { ToolError, UsageError } from "../../base/errors.ts";
import type { Output } from "../../base/output.ts";
import { processStart } from "../../base/process-identity.ts";
import { readJsonIfWhole, replaceFile } from "../../base/text-file.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { boundPort, serverFiles } from "../description/files.ts";

const MAIN = path.join(PACKAGE_ROOT, `cli/main${path.extname(import.meta.filename)}`);

interface Keeper {
  readonly pid: number;
  readonly start: string;
}

function keeperFile(name: string): string {
  return path.join(stackFolder(name), "testdb.pid");
}

function runningKeeper(name: string): Keeper | undefined {
  const keeper = readJsonIfWhole<Keeper>(keeperFile(name));
  return keeper && processStart(keeper.pid) === keeper.start ? keeper : undefined;
}

/** Writes down which process looks after the server, so that `stop` ends that one and no other. */
export function recordKeeper(name: string): void {
  replaceFile(keeperFile(name), JSON.stringify({ pid: process.pid, start: processStart(process.pid) }));
}

/** Starts the pool's keeper in the background, with one that restarts it, unless it runs. */
export function startKeeper(name: string, port: number | undefined): void {
  const log = openSync(serverFiles(name).log, "a", 0o600);
  const child = spawn(
    process.execPath,
    [MAIN, "testdb", "serve", "--name", name, "--supervise", ...(port === undefined ? [] : ["--port", String(port)])],
    {
      detached: true,
      stdio: ["ignore", log, log],
    },
  );
  child.unref();
}

const KEEPER_STARTS_MS = 20_000;

/** Makes sure that the keeper runs, and the HTTP API with it. @throws UsageError where it has another port */
export async function ensureKeeper(name: string, port: number | undefined, output: Output): Promise<void> {
  const { socket, log } = serverFiles(name);
  if (runningKeeper(name) && (await answers(socket))) {
    const open = boundPort(name);
    if (port === undefined || (open !== undefined && (port === 0 || port === open))) return;
    if (open !== undefined) {
      throw new UsageError(`The HTTP API of server "${name}" is on port ${open} already.`, [
        { subject: "--port", problem: `${port} is another one`, remedy: "Use that port, or stop the server first." },
      ]);
    }
    output.progress(`server ${name}: starting the HTTP API again, with a port`);
    await stopKeeper(name);
  }
  if (port !== undefined && port !== 0 && !(await isFree(port))) {
    throw new ToolError(`Port ${port} is taken by another program.`, [
      { subject: "--port", problem: "nothing else may listen there", remedy: "Choose another, or 0 for a free one." },
    ]);
  }
  rmSync(serverFiles(name).port, { force: true });
  startKeeper(name, port);
  const deadline = Date.now() + KEEPER_STARTS_MS;
  const isUp = async () => (await answers(socket)) && (port === undefined || boundPort(name) !== undefined);
  while (!(await isUp())) {
    if (Date.now() > deadline)
      throw new ToolError("The pool of test databases did not start.", [{ subject: log, problem: "says why" }]);
    await wait(20);
  }
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
  if (keeper) await end(name, keeper);
  rmSync(keeperFile(name), { force: true });
}

async function end(name: string, keeper: Keeper): Promise<void> {
  process.kill(keeper.pid, "SIGTERM");
  const deadline = Date.now() + KEEPER_STOPS_MS;
  while (processStart(keeper.pid) === keeper.start) {
    if (Date.now() > deadline)
      throw new ToolError(`Process ${keeper.pid}, which keeps the pool of ${name}, does not end.`);
    await wait(20);
  }
}
