import { existsSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { ephemeralKind } from "../../infra/settings/profile.ts";
import { hasCode, messageOf, StateError, UsageError } from "../../base/errors.ts";
import { reportWaiting, withLock } from "../../base/lock.ts";
import type { Output } from "../../base/output.ts";
import { readStackConfig } from "../../stack/settings-file.ts";
import { refuseLongSocketPath, serverFiles, serverLock } from "../description/files.ts";
import { forgetServer, nameOption, readServer, type TestServer } from "../description/server.ts";
import { CERTIFICATE_EXPIRED, openRegistry, refuseRemoval, UnreachableError, type Registry } from "../pool/registry.ts";
import { ensureTemplate, readSource, type TemplateSource } from "../pool/template.ts";
import { ensureKeeper, stopKeeper } from "./keeper-process.ts";
import {
  certificatesEndSoon,
  isLocalServerRunning,
  localServerProcesses,
  renewCertificates,
  startLocalServer,
  stopLocalServer,
} from "./local.ts";

/** Loaded where it is needed: a server that runs, or is a process, needs nothing of Docker and Pulumi. */
const stackServer = () => import("./stack-server.ts");

/** A server for tests is a stack that is thrown away; only such a name may carry one. */
export function refuseLastingStack(name: string): void {
  if (ephemeralKind(name) === "ci") return;
  throw new UsageError(`"${name}" is no name of a server for tests.`, {
    subject: "--name",
    problem: "its data is in memory and is thrown away, so its stack must be named ci-…",
    remedy: `Use --name ci-${name}.`,
  });
}

/** How long a server that is there may take to answer: it restarts by itself after one of its processes was killed. */
const ANSWERS_MS = 15_000;

/**
 * What a server that is there answers; undefined for one that is gone. One refusal is no proof of that: it is gone when
 * its process or container is.
 *
 * @param isRefusal whether it is asked again after this error. Any other is thrown.
 * @param explain the error of a server that is there and still refuses after 15 s
 */
async function answerOf<T>(
  server: TestServer,
  ask: (server: TestServer) => Promise<T>,
  isRefusal: (error: unknown) => boolean,
  explain: (error: unknown) => { readonly summary: string; readonly problem: string; readonly remedy: string },
): Promise<T | undefined> {
  // Nobody comes in with certificates that have expired; a stack's are renewed by `up`.
  const { name, engine } = server;
  if (engine === "local" && isLocalServerRunning(name) && certificatesEndSoon(server)) await renewCertificates(server);
  const deadline = Date.now() + ANSWERS_MS;
  for (;;) {
    try {
      return await ask(server);
    } catch (cause) {
      if (!isRefusal(cause)) throw cause;
      if (!(await isThere(server))) return undefined;
      if (Date.now() > deadline) {
        const { summary, problem, remedy } = explain(cause);
        const { host, port } = server.direct;
        throw new StateError(summary, { subject: `${host}:${port}`, problem, remedy }, { cause });
      }
    }
    await wait(250);
  }
}

async function isThere({ name, engine }: TestServer): Promise<boolean> {
  return engine === "local" ? isLocalServerRunning(name) : (await stackServer()).isStackServerThere(name);
}

/**
 * The registry of a server that runs; undefined for one that is gone.
 *
 * @throws StateError when it is there and does not answer, or is none for tests
 */
async function reachable(name: string): Promise<Registry | undefined> {
  if (!existsSync(serverFiles(name).description)) return undefined;
  // A mark that is not there is a decision, not an accident: such a server must not be removed by making a new one.
  const isRefusal = (error: unknown) => error instanceof UnreachableError;
  return answerOf(readServer(name), openRegistry, isRefusal, (error) => ({
    summary: `The server for tests "${name}" runs and does not answer; nothing has been changed.`,
    problem: messageOf((error as UnreachableError).cause),
    remedy: `Make it anew, with nothing in it: \`npx aiwdb testdb stop${nameOption(name)}\`, then \`start\`.`,
  }));
}

/** How a server is run: its stack's containers, or a process of this machine. */
export type TestEngine = TestServer["engine"];

export interface StartOptions {
  /** Loopback port of the HTTP API. */
  readonly port?: number | undefined;
  /** @default - what runs already; else container */
  readonly engine?: TestEngine | undefined;
  /**
   * Remove a server that was started here when its template or pool fails.
   *
   * @default false: the next start is quicker
   */
  readonly stopOnFailure?: boolean | undefined;
  /** What the template is made from that is built at once. @default the package's own migrations */
  readonly source?: TemplateSource | undefined;
}

export interface StartedServer {
  readonly server: TestServer;
  /** Whether it was not there before. */
  readonly created: boolean;
}

/** @throws UsageError when there is no such engine */
export function parseEngine(text: string, subject: string): TestEngine | undefined {
  if (text === "") return undefined;
  if (text === "container" || text === "local") return text;
  throw new UsageError(`There is no engine "${text}".`, { subject, problem: "must be container or local" });
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
export function startServer(name: string, output: Output, options: StartOptions = {}): Promise<StartedServer> {
  refuseLastingStack(name);
  refuseLongSocketPath(name);
  return alone(name, output, () => start(name, output, options));
}

async function start(name: string, output: Output, options: StartOptions): Promise<StartedServer> {
  let registry = await reachable(name);
  if (registry && options.engine && registry.server.engine !== options.engine) {
    await registry.close();
    throw new StateError(`Server "${name}" runs with engine ${registry.server.engine}; nothing has been changed.`, {
      subject: "--engine",
      problem: `${options.engine} would need another server`,
      remedy: `Stop it first: \`npx aiwdb testdb stop --name ${name}\`, or use another --name.`,
    });
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
        : await (await stackServer()).startStackServer(name, output);
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

/**
 * Ends the keeper, then removes the server with everything in it.
 *
 * @throws StateError when it is marked production, or is there and lets nobody read whether it is
 */
export function stopServer(name: string, output: Output): Promise<void> {
  refuseLastingStack(name);
  return alone(name, output, () => stop(name, output));
}

async function stop(name: string, output: Output): Promise<void> {
  const { description } = serverFiles(name);
  const server = existsSync(description) ? readServer(name) : undefined;
  if (server) await refuseUnlessRemovable(server);
  await stopKeeper(name);
  const isLocal = server?.engine === "local" || existsSync(serverFiles(name).local);
  if (isLocal) await stopLocalServer(name);
  if (server?.engine === "container" || !isLocal) await (await stackServer()).stopStackServer(name, output);
  forgetServer(name);
}

/** A server that answers and refuses may be marked production: it is removed only once its user has ended it. */
async function refuseUnlessRemovable(server: TestServer): Promise<void> {
  const isRefusal = (error: unknown) => !(error instanceof StateError);
  await answerOf(server, refuseRemoval, isRefusal, (error) => ({
    summary: `The server for tests "${server.name}" runs and lets nobody read whether it is marked production; nothing has been removed.`,
    problem: messageOf(error),
    remedy: wayOut(server, error),
  }));
}

/** How its mark can be read again, or the server be ended by hand: one that is gone is removed. */
function wayOut({ name, engine }: TestServer, error: unknown): string {
  const again = `then again \`npx aiwdb testdb stop${nameOption(name)}\`.`;
  if (engine === "container" && hasCode(error, ...CERTIFICATE_EXPIRED))
    return `Renew its certificates, \`npx aiwdb up --stack ${name}\`, ${again}`;
  const end =
    engine === "local"
      ? localServerProcesses(name)
          .map((file) => `kill -INT $(head -n 1 ${file})`)
          .join("; ")
      : `npx aiwdb down --stack ${name}`;
  return `If you know that it is none, end it yourself, \`${end}\`, ${again}`;
}
