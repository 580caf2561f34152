import { spawn } from "node:child_process";
import { existsSync, openSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { ephemeralKind } from "../../infra/settings/profile.ts";
import { stackFolder } from "../../infra/settings/local-files.ts";
import { hasPassword } from "../../infra/provider/resources/superuser-password.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { boundPort } from "../http-api.ts";
import {
  certificatesEndSoon,
  isLocalServerRunning,
  renewCertificates,
  startLocalServer,
  stopLocalServer,
} from "./local.ts";
import { openRegistry, refuseRemoval, UnreachableError, type Registry } from "../pool/registry.ts";
import {
  forgetServer,
  nameOption,
  readServer,
  refuseLongSocketPath,
  serverFiles,
  serverLock,
  type TestServer,
  writeServer,
} from "./server.ts";
import { ensureTemplate, readSource, type TemplateSource } from "../pool/template.ts";
import { findEngine } from "../../toolchain/engine/find.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { messageOf, StateError, ToolError, UsageError } from "../../base/errors.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import { reportWaiting, withLock } from "../../base/lock.ts";
import { processStart } from "../../base/process-identity.ts";
import { readJsonIfWhole } from "../../base/text-file.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import type { Output } from "../../base/output.ts";
import { openSession, readOutputs } from "../../stack/session.ts";
import { readStackConfig } from "../../stack/settings-file.ts";

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
    ...(connections.rolePorts ? { rolePorts: connections.rolePorts } : {}),
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

/** How long a server that is there may take to answer: it restarts by itself after one of its processes was killed. */
const ANSWERS_MS = 15_000;

/**
 * The registry of a server that runs; undefined for one that is gone. One refusal is no proof of that: it is gone when its
 * process or container is.
 *
 * @throws StateError when it is there and does not answer, or is none for tests
 */
async function reachable(name: string): Promise<Registry | undefined> {
  if (!existsSync(serverFiles(name).description)) return undefined;
  const server = readServer(name);
  if (server.engine === "local" && isLocalServerRunning(name) && certificatesEndSoon(server)) {
    await renewCertificates(server);
  }
  const deadline = Date.now() + ANSWERS_MS;
  for (;;) {
    try {
      return await openRegistry(server);
    } catch (error) {
      // A mark that is not there is a decision, not an accident: it must not be removed by making a new server.
      if (!(error instanceof UnreachableError)) throw error;
      if (!(await isThere(server))) return undefined;
      if (Date.now() > deadline) {
        throw new StateError(
          `The server for tests "${name}" runs and does not answer; nothing has been changed.`,
          [
            {
              subject: `${server.direct.host}:${server.direct.port}`,
              problem: messageOf(error.cause),
              remedy: `Make it anew, with nothing in it: \`npx aiwdb testdb stop${nameOption(name)}\`, then \`start\`.`,
            },
          ],
          { cause: error },
        );
      }
      await wait(250);
    }
  }
}

async function isThere({ name, engine }: TestServer): Promise<boolean> {
  if (engine === "local") return isLocalServerRunning(name);
  const found = await findEngine();
  if (!found) return false; // and with the engine its containers' memory
  try {
    const docker = engineClient(found);
    const { postgres } = engineNames(name);
    const { State } = await docker.getContainer(postgres).inspect();
    // One that was started again lost what was in memory, its roles' passwords among it.
    return State.Running && (await hasPassword(docker, postgres));
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 404) return false;
    throw error;
  }
}

/** How a server is run: its stack's containers, or a process of this machine. */
export type TestEngine = TestServer["engine"];

export interface StartOptions {
  /** Loopback port of the HTTP API. */
  readonly port?: number | undefined;
  /** @default - what runs already; else container */
  readonly engine?: TestEngine | undefined;
  /** Remove a server that was started here when its template or pool fails. @default false: the next start is quicker */
  readonly stopOnFailure?: boolean | undefined;
  /** What the template is made from that is built at once. @default the package's own migrations */
  readonly source?: TemplateSource | undefined;
}

/** @throws UsageError when there is no such engine */
export function parseEngine(text: string, subject: string): TestEngine | undefined {
  if (text === "") return undefined;
  if (text === "container" || text === "local") return text;
  throw new UsageError(`There is no engine "${text}".`, [{ subject, problem: "must be container or local" }]);
}

/** One at a time starts or stops a server of that name. */
function alone<T>(name: string, output: Output, action: () => Promise<T>): Promise<T> {
  return withLock(serverLock(name), action, reportWaiting(`server ${name}`, output.progress));
}

/**
 * Makes sure that a server for tests, its template and its pool are there.
 *
 * @throws StateError with the error of the migration that fails, or where the path of the API's socket is too long
 */
export function startServer(
  name: string,
  output: Output,
  options: StartOptions = {},
): Promise<{ server: TestServer; created: boolean }> {
  refuseLastingStack(name);
  refuseLongSocketPath(name);
  return alone(name, output, () => start(name, output, options));
}

async function start(
  name: string,
  output: Output,
  options: StartOptions,
): Promise<{ server: TestServer; created: boolean }> {
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
      await stop(name, output);
    }
    const server =
      options.engine === "local"
        ? await startLocalServer(readStackConfig(name), output.progress)
        : await bringUp(name, output);
    registry = await openRegistry(server);
  }
  try {
    await ensureTemplate(registry, readSource(registry.server, options.source ?? {}), output.progress);
    await ensureKeeper(name, options.port, output);
    await registry.close();
    return { server: registry.server, created };
  } catch (error) {
    await registry.close();
    // Whoever asked for it gets no server, so there is nobody who would stop it.
    if (created && options.stopOnFailure) await stop(name, output);
    throw error;
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
  const keeper = readJsonIfWhole<Keeper>(keeperFile(name));
  return keeper && processStart(keeper.pid) === keeper.start ? keeper : undefined;
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

async function ensureKeeper(name: string, port: number | undefined, output: Output): Promise<void> {
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

async function stopKeeper(name: string): Promise<void> {
  const keeper = runningKeeper(name);
  if (!keeper) return;
  process.kill(keeper.pid, "SIGTERM");
  const deadline = Date.now() + KEEPER_STOPS_MS;
  while (processStart(keeper.pid) === keeper.start) {
    if (Date.now() > deadline)
      throw new ToolError(`Process ${keeper.pid}, which keeps the pool of ${name}, does not end.`);
    await wait(20);
  }
}

/**
 * Ends the keeper, then removes the server with everything in it.
 *
 * @throws StateError when it is marked production
 */
export function stopServer(name: string, output: Output): Promise<void> {
  refuseLastingStack(name);
  return alone(name, output, () => stop(name, output));
}

async function stop(name: string, output: Output): Promise<void> {
  const { description } = serverFiles(name);
  const server = existsSync(description) ? readServer(name) : undefined;
  if (server) await refuseRemoval(server);
  await stopKeeper(name);
  const isLocal = server?.engine === "local" || existsSync(serverFiles(name).local);
  if (isLocal) await stopLocalServer(name);
  if (server?.engine === "container" || !isLocal) await runOwn(["down", "--stack", name, "--json"], output.progress);
  rmSync(keeperFile(name), { force: true });
  forgetServer(name);
}
