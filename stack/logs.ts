import { PassThrough, Readable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import type Docker from "dockerode";
import { hasCode, messageOf, type Problem, StateError, ToolError } from "../base/errors.ts";
import { SERVERS, type ServerName } from "../infra/servers/registry.ts";
import { engineNames } from "../infra/settings/names.ts";
import { hasMaintenance } from "../infra/settings/table.ts";
import { engineClient } from "../toolchain/engine/client.ts";
import { inspect, isNotFound } from "../toolchain/engine/containers.ts";
import { type LogLine, readLog } from "../toolchain/engine/logs.ts";
import { requireEngine } from "./engine.ts";
import { requireStack } from "./known-stacks.ts";
import { readStackConfig } from "./settings-file.ts";

/** Servers whose containers have a log. */
export const SERVICES = Object.keys(SERVERS) as readonly ServerName[];

export interface LogsOptions {
  readonly stack: string;
  readonly services: readonly ServerName[];
  readonly since?: Date | undefined;
  /** So many of the last lines of each service. @default all */
  readonly tail?: number | undefined;
  /** Goes on with what the services write from now on, until the caller takes no more. */
  readonly follow: boolean;
  /** Gets a line about each container that ends or starts while it is followed. */
  readonly warn: (line: string) => void;
}

export interface ServiceLine extends LogLine {
  readonly service: ServerName;
}

/** How long a container that ended is left alone before the engine is asked again. */
const POLL_MS = 1_000;

/**
 * The lines that a stack's services wrote, in the order of time. With `follow` the later ones come as they are written,
 * also by a container that starts again or is made anew.
 *
 * @throws UsageError, ToolError where there is no such stack or no engine; StateError, after the lines of the others,
 *   naming each service whose log cannot be read, such as one whose container is gone
 */
export async function* stackLogs(options: LogsOptions): AsyncGenerator<ServiceLine> {
  const { stack, follow } = options;
  requireStack(stack);
  const docker = engineClient(await requireEngine(stack));
  const asked = new Date();
  const { present, problems } = await find(docker, options);
  /** Time of the last line of each service that has been given out. */
  const last = new Map<ServerName, string>();
  const reading = new AbortController();
  try {
    const sources = present.map((service) => past(docker, options, service, reading.signal, problems));
    for await (const line of inOrder(sources)) {
      last.set(line.service, line.at);
      yield line;
    }
  } finally {
    reading.abort(); // a log that nobody reads to its end would keep this process
  }
  if (problems.length > 0) throw new StateError(`Not every log of stack "${stack}" can be read:`, problems);
  if (!follow) return;
  const ending = new AbortController();
  try {
    const streams = present.map((service) =>
      next(docker, { ...options, service, signal: ending.signal }, last.get(service) ?? asked),
    );
    yield* asTheyCome(streams);
  } finally {
    ending.abort();
  }
}

/** The services that have a log, or will have one again while they are followed. */
async function find(
  docker: Docker,
  { stack, services, follow }: LogsOptions,
): Promise<{ present: ServerName[]; problems: Problem[] }> {
  const present: ServerName[] = [];
  const problems: Problem[] = [];
  for (const service of services) {
    const container = engineNames(stack)[service];
    if ((await inspect(docker, container)) !== undefined) present.push(service);
    else if (service === "maintenance" && !hasMaintenance(readStackConfig(stack))) {
      const remedy = "It has one from rolloutPhase 4 on, unless maintenanceIntervalMin is 0 or its profile is ci.";
      if (services.length === 1)
        problems.push({ subject: service, problem: "the stack has no such container", remedy });
    } else if (follow) present.push(service);
    else {
      const remedy = `\`aiwdb up --stack ${stack}\` makes it anew; what it had written is lost with it.`;
      problems.push({ subject: service, problem: `container ${container} is gone`, remedy });
    }
  }
  return { present, problems };
}

/** What a service has written so far. Where that cannot be read it gives nothing, and notes why. */
async function* past(
  docker: Docker,
  { stack, since, tail }: LogsOptions,
  service: ServerName,
  signal: AbortSignal,
  problems: Problem[],
): AsyncGenerator<ServiceLine> {
  try {
    for await (const line of readLog(docker, engineNames(stack)[service], { since, tail, signal }))
      yield { service, ...line };
  } catch (error) {
    if (error instanceof StateError) problems.push(...error.problems);
    else if (!isNotFound(error)) throw error;
  }
}

/** What a service writes after a time, by the container of its name that there is then. */
async function* next(
  docker: Docker,
  { stack, service, warn, signal }: LogsOptions & { readonly service: ServerName; readonly signal: AbortSignal },
  after: Date | string,
): AsyncGenerator<ServiceLine> {
  const container = engineNames(stack)[service];
  const state = async () => {
    const info = await inspect(docker, container).catch((cause: unknown) => {
      throw new ToolError(`The Docker Engine cannot be asked any more: ${messageOf(cause)}`, [], { cause });
    });
    if (info === undefined) return "is gone";
    return info.State.Running ? undefined : `has ended with exit code ${info.State.ExitCode}`;
  };
  let since = after;
  for (;;) {
    const ended = await state();
    if (ended !== undefined) {
      warn(`${service}: container ${container} ${ended}; waiting for one that runs`);
      while ((await state()) !== undefined) await wait(POLL_MS, undefined, { signal });
      warn(`${service}: container ${container} runs`);
    }
    try {
      for await (const line of readLog(docker, container, { since, follow: true, signal })) {
        // The engine gives the line of that very time again.
        if (line.at === since) continue;
        since = line.at;
        yield { service, ...line };
      }
    } catch (error) {
      // It was removed meanwhile, or the engine cut the stream off: a look at the container says which.
      if (!isNotFound(error) && !hasCode(error, "ECONNRESET")) throw error;
    }
    await wait(POLL_MS / 10, undefined, { signal });
  }
}

/** Merges what is in order of time. */
async function* inOrder(sources: readonly AsyncGenerator<ServiceLine>[]): AsyncGenerator<ServiceLine> {
  const heads = await Promise.all(sources.map((source) => source.next()));
  for (;;) {
    let first: number | undefined;
    for (const [index, head] of heads.entries())
      if (!head.done && (first === undefined || head.value.at < heads[first]!.value.at)) first = index;
    if (first === undefined) return;
    yield heads[first]!.value;
    heads[first] = await sources[first]!.next();
  }
}

/** Merges what comes when it comes. */
async function* asTheyCome(sources: readonly AsyncGenerator<ServiceLine>[]): AsyncGenerator<ServiceLine> {
  const merged = new PassThrough({ objectMode: true });
  for (const source of sources)
    Readable.from(source)
      .on("error", (error) => merged.destroy(error))
      .pipe(merged, { end: false });
  yield* merged;
}
