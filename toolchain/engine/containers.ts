import { createRequire } from "node:module";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type Docker from "dockerode";
import { ToolError } from "../../base/errors.ts";
import { ENGINE_QUESTION_MS, type EngineWork, limited } from "./client.ts";

const require = createRequire(import.meta.url);

/** The Docker Engine of `DOCKER_HOST`, else of the default socket. */
export function engine(): Docker {
  // Loaded here, because it is large, and the Pulumi program itself asks the engine nothing.
  const Engine = require("dockerode") as typeof Docker;
  return new Engine();
}

/** For what the engine has to do: make, start and remove things. */
export const ACTION_MS = 120_000;
/** For a command in a container. */
const COMMAND_MS = 600_000;

/**
 * Asks the engine to do something, and gives up one that does not answer.
 *
 * @param what it is to do, as in "did not ... within 30 s"
 * @param signal gives up earlier; its reason is thrown
 */
export function within<T>(what: string, limitMs: number, work: EngineWork<T>, signal?: AbortSignal): Promise<T> {
  const late = () => {
    throw new ToolError(`The Docker Engine did not ${what} within ${limitMs / 1000} s; restart it, then go on.`);
  };
  return limited(limitMs, work, late, signal);
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
export function inspect(
  docker: Docker,
  container: string,
  signal?: AbortSignal,
): Promise<Docker.ContainerInspectInfo | undefined> {
  const ask: EngineWork<Docker.ContainerInspectInfo> = (options) => docker.getContainer(container).inspect(options);
  return ifFound(within(`tell about container ${container}`, ENGINE_QUESTION_MS, ask, signal));
}

const RESTARTS_MEAN_FAILURE = 3;

/** Whether a container is gone, has ended or keeps being restarted: there is nothing to wait for. */
export function hasFailed(info: Docker.ContainerInspectInfo | undefined): boolean {
  if (!info) return true;
  return ["exited", "dead"].includes(info.State.Status) || info.RestartCount >= RESTARTS_MEAN_FAILURE;
}

const LAST_LINES = 15;

/** The last lines a container wrote: what the user needs to see when it does not start. */
export async function lastLines(docker: Docker, container: string, signal?: AbortSignal): Promise<string> {
  const options = { stdout: true, stderr: true, tail: LAST_LINES };
  const ask: EngineWork<Buffer> = (abort) => docker.getContainer(container).logs({ ...options, ...abort });
  return stripFrames(await within(`give the log of ${container}`, ENGINE_QUESTION_MS, ask, signal)).trimEnd();
}

/** Output of a command without a terminal comes in frames of 8 bytes of header and the bytes themselves. */
function stripFrames(raw: Buffer): string {
  let lines = "";
  for (let at = 0; at + 8 <= raw.length;) {
    const size = raw.readUInt32BE(at + 4);
    lines += raw.toString("utf8", at + 8, at + 8 + size);
    at += 8 + size;
  }
  return lines;
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
      const [stdout, stderr] = [new PassThrough(), new PassThrough()];
      const texts = Promise.all([text(stdout), text(stderr)]);
      docker.modem.demuxStream(stream, stdout, stderr);
      if (stdin !== undefined) stream.end(stdin);
      await new Promise<void>((resolve, reject) => {
        stream.on("end", resolve);
        stream.on("close", resolve);
        stream.on("error", reject);
      });
      stdout.end();
      stderr.end();
      const [{ ExitCode }, [out, err]] = await Promise.all([handle.inspect(options), texts]);
      return { exitCode: ExitCode ?? -1, stdout: out, stderr: err };
    },
    signal,
  );
}
