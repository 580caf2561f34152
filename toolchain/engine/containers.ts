import { createRequire } from "node:module";
import { PassThrough } from "node:stream";
import type Docker from "dockerode";
import { ToolError } from "../../base/errors.ts";

const require = createRequire(import.meta.url);

/** The Docker Engine of `DOCKER_HOST`, else of the default socket. */
export function engine(): Docker {
  // Loaded here, because it is large, and the Pulumi program itself asks the engine nothing.
  const Engine = require("dockerode") as typeof Docker;
  return new Engine();
}

/** What an engine only has to look up is answered within this. */
const QUESTION_MS = 30_000;
/** For what it has to do: make, start and remove things. */
export const ACTION_MS = 120_000;
/** For a command in a container. */
const COMMAND_MS = 600_000;

/**
 * Asks the engine to do something, and gives up one that does not answer.
 *
 * @param what it is to do, as in "did not ... within 30 s"
 * @param signal gives up earlier; its reason is thrown
 */
export async function within<T>(
  what: string,
  limitMs: number,
  work: (options: { abortSignal: AbortSignal }) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const limit = AbortSignal.timeout(limitMs);
  const abortSignal = signal ? AbortSignal.any([limit, signal]) : limit;
  abortSignal.throwIfAborted();
  const ended = new Promise<never>((_resolve, reject) =>
    abortSignal.addEventListener("abort", () =>
      reject(
        limit.aborted
          ? new ToolError(`The Docker Engine did not ${what} within ${limitMs / 1000} s; restart it, then go on.`)
          : (abortSignal.reason as Error),
      ),
    ),
  );
  return await Promise.race([work({ abortSignal }), ended]);
}

/** True for an Engine API error that says the object does not exist. */
export function isNotFound(error: unknown): boolean {
  return (error as { statusCode?: number }).statusCode === 404;
}

/** What the engine answers; undefined where the object does not exist. */
export async function ifFound<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** What `docker inspect` says of a container; undefined if there is none of that name. */
export async function inspect(
  docker: Docker,
  container: string,
  signal?: AbortSignal,
): Promise<Docker.ContainerInspectInfo | undefined> {
  try {
    return await within(
      `tell about container ${container}`,
      QUESTION_MS,
      (options) => docker.getContainer(container).inspect(options),
      signal,
    );
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

const RESTARTS_MEAN_FAILURE = 3;

/** Whether a container is gone, has ended or keeps being restarted: there is nothing to wait for. */
export function hasFailed(info: Docker.ContainerInspectInfo | undefined): boolean {
  return (
    !info ||
    info.State.Status === "exited" ||
    info.State.Status === "dead" ||
    info.RestartCount >= RESTARTS_MEAN_FAILURE
  );
}

const LAST_LINES = 15;

/** The last lines a container wrote: what the user needs to see when it does not start. */
export async function lastLines(docker: Docker, container: string, signal?: AbortSignal): Promise<string> {
  const raw = await within(
    `give the log of ${container}`,
    QUESTION_MS,
    (options) => docker.getContainer(container).logs({ stdout: true, stderr: true, tail: LAST_LINES, ...options }),
    signal,
  );
  return stripFrames(raw as unknown as Buffer).trimEnd();
}

/** Output of a command without a terminal comes in frames of 8 bytes of header and the bytes themselves. */
function stripFrames(raw: Buffer): string {
  let text = "";
  for (let at = 0; at + 8 <= raw.length;) {
    const size = raw.readUInt32BE(at + 4);
    text += raw.toString("utf8", at + 8, at + 8 + size);
    at += 8 + size;
  }
  return text;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command in a running container; `stdin`, if given, is handed over there, never on the command line.
 *
 * @param signal gives up an engine or a command that does not answer; the command goes on in the container
 */
export async function exec(
  docker: Docker,
  container: string,
  command: readonly string[],
  stdin?: string,
  signal?: AbortSignal,
): Promise<ExecResult> {
  return await within(
    `end ${command[0]} in container ${container}`,
    COMMAND_MS,
    async (options) => {
      const handle = await docker.getContainer(container).exec({
        Cmd: [...command],
        AttachStdin: stdin !== undefined,
        AttachStdout: true,
        AttachStderr: true,
        ...options,
      });
      const stream = await handle.start({ hijack: true, stdin: stdin !== undefined, ...options });
      options.abortSignal.addEventListener("abort", () => stream.destroy());
      const stdout = collect();
      const stderr = collect();
      docker.modem.demuxStream(stream, stdout.stream, stderr.stream);
      if (stdin !== undefined) stream.end(stdin);
      await new Promise<void>((resolve, reject) => {
        stream.on("end", resolve);
        stream.on("close", resolve);
        stream.on("error", reject);
      });
      const { ExitCode } = await handle.inspect(options);
      return { exitCode: ExitCode ?? -1, stdout: stdout.text(), stderr: stderr.text() };
    },
    signal,
  );
}

function collect() {
  const chunks: Buffer[] = [];
  const stream = new PassThrough();
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString("utf8") };
}
