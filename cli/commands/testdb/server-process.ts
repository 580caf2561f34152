import { spawn } from "node:child_process";
import { existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { ephemeralKind } from "../../../infra/config.ts";
import { stackFolder } from "../../../infra/local-files.ts";
import { startLocalServer, stopLocalServer } from "../../../testing/local-server.ts";
import { openRegistry, type Registry } from "../../../testing/registry.ts";
import { forgetServer, readServer, serverFiles, writeServer, type TestServer } from "../../../testing/server.ts";
import { ensureTemplate, readSource } from "../../../testing/template.ts";
import { StateError, ToolError, UsageError } from "../../../toolchain/errors.ts";
import { imageTag } from "../../../toolchain/image-tag.ts";
import { processStart } from "../../../toolchain/lock.ts";
import { setUp } from "../../../toolchain/set-up.ts";
import { PACKAGE_ROOT } from "../../../toolchain/versions.ts";
import type { Output } from "../../output.ts";
import { openSession, readOutputs } from "../../stack/session.ts";

const MAIN = path.join(PACKAGE_ROOT, `cli/main${path.extname(import.meta.filename)}`);

/** A server for tests is a stack that is thrown away; only such a name may carry one. */
export function refuseLastingStack(name: string): void {
  if (ephemeralKind(name) === "ci") return;
  throw new UsageError(`"${name}" is no name of a server for tests.`, [
    {
      subject: "--name",
      problem: "its data is in memory and is thrown away, so its stack must be named ci-…",
      remedy: `Use --name ci-${name}.`,
    },
  ]);
}

/** Runs another command of this program; its progress shows, its result does not. */
function runOwn(args: readonly string[], report: (line: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8");
      for (const line of chunk.toString("utf8").split("\n")) if (line.startsWith("· ")) report(line.slice(2));
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve();
      else
        reject(new ToolError(`\`aiwdb ${args.join(" ")}\` failed:\n${text.trim().split("\n").slice(-30).join("\n")}`));
    });
  });
}

/** Brings the server's stack up by Pulumi, the same way as any other stack, and writes down how to reach it. */
async function bringUp(name: string, output: Output): Promise<TestServer> {
  await runOwn(["up", "--stack", name, "--yes", "--json"], output.progress);
  const toolchain = await setUp({ report: output.progress, images: false });
  const { connections, passwords } = await readOutputs(openSession(name, toolchain));
  const { host, port } = connections.direct;
  const server: TestServer = {
    name,
    engine: "container",
    database: connections.database,
    direct: { host, port },
    transaction: { host: connections.transaction.host, port: connections.transaction.port },
    roles: Object.fromEntries(
      Object.entries(connections.certificates).map(([role, certificate]) => [
        role,
        { password: passwords[role] ?? "", ...certificate },
      ]),
    ) as unknown as TestServer["roles"],
    images: [imageTag("postgres"), imageTag("pgbouncer")],
  };
  writeServer(server);
  return server;
}

async function reachable(name: string): Promise<Registry | undefined> {
  if (!existsSync(serverFiles(name).description)) return undefined;
  try {
    return await openRegistry(readServer(name));
  } catch (error) {
    // A mark that is not there is a decision, not an accident: it must not be removed by making a new server.
    if (error instanceof StateError && !error.message.includes("does not answer")) throw error;
    return undefined;
  }
}

/** How a server is run: its stack's containers, or a process of this machine. */
export type TestEngine = TestServer["engine"];

export interface StartOptions {
  /** Loopback port of the HTTP API. */
  readonly port?: number | undefined;
  /** @default - what runs already; else container */
  readonly engine?: TestEngine | undefined;
}

/**
 * Makes sure that a server for tests, its template and its pool are there.
 *
 * @throws StateError with the error of the migration that fails
 */
export async function startServer(
  name: string,
  output: Output,
  options: StartOptions = {},
): Promise<{ server: TestServer; created: boolean }> {
  refuseLastingStack(name);
  let registry = await reachable(name);
  if (registry && options.engine && registry.server.engine !== options.engine) {
    await registry.close();
    throw new StateError(`Server "${name}" runs with engine ${registry.server.engine}; nothing has been changed.`, [
      {
        subject: "--engine",
        problem: `${options.engine} would need another server`,
        remedy: `Stop it first: \`npx aiwdb testdb stop --name ${name}\`, or use another --name.`,
      },
    ]);
  }
  const created = registry === undefined;
  if (!registry) {
    if (existsSync(serverFiles(name).description)) {
      output.progress(`server ${name} is gone, and what was in it; making it anew`);
      await stopServer(name, output);
    }
    const server =
      options.engine === "local" ? await startLocalServer(name, output.progress) : await bringUp(name, output);
    registry = await openRegistry(server);
  }
  try {
    await ensureTemplate(registry, readSource(registry.server, {}), output.progress);
    await ensureKeeper(name, options.port);
    return { server: registry.server, created };
  } finally {
    await registry.close();
  }
}

interface Keeper {
  readonly pid: number;
  readonly start: string;
}

function keeperFile(name: string): string {
  return path.join(stackFolder(name), "testdb.pid");
}

function runningKeeper(name: string): Keeper | undefined {
  const file = keeperFile(name);
  if (!existsSync(file)) return undefined;
  try {
    const keeper = JSON.parse(readFileSync(file, "utf8")) as Keeper;
    return processStart(keeper.pid) === keeper.start ? keeper : undefined;
  } catch {
    return undefined; // half written by a process that was killed
  }
}

/** Writes down which process looks after the server, so that `stop` ends that one and no other. */
export function recordKeeper(name: string): void {
  writeFileSync(keeperFile(name), JSON.stringify({ pid: process.pid, start: processStart(process.pid) }), {
    mode: 0o600,
  });
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

async function ensureKeeper(name: string, port: number | undefined): Promise<void> {
  const { socket, log } = serverFiles(name);
  if (runningKeeper(name) && (await answers(socket))) return;
  startKeeper(name, port);
  const deadline = Date.now() + KEEPER_STARTS_MS;
  while (!(await answers(socket))) {
    if (Date.now() > deadline)
      throw new ToolError("The pool of test databases did not start.", [{ subject: log, problem: "says why" }]);
    await wait(20);
  }
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

/** Ends the keeper, then removes the server with everything in it. */
export async function stopServer(name: string, output: Output): Promise<void> {
  refuseLastingStack(name);
  const keeper = runningKeeper(name);
  if (keeper) {
    process.kill(keeper.pid, "SIGTERM");
    const deadline = Date.now() + KEEPER_STOPS_MS;
    while (processStart(keeper.pid) === keeper.start) {
      if (Date.now() > deadline)
        throw new ToolError(`Process ${keeper.pid}, which keeps the pool of ${name}, does not end.`);
      await wait(20);
    }
  }
  const { description } = serverFiles(name);
  const isLocal = existsSync(description) && readServer(name).engine === "local";
  if (isLocal) await stopLocalServer(name);
  else await runOwn(["down", "--stack", name, "--json"], output.progress);
  rmSync(keeperFile(name), { force: true });
  forgetServer(name);
}
