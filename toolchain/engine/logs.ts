import type Docker from "dockerode";
import { StateError } from "../../base/errors.ts";
import { ENGINE_QUESTION_MS } from "./client.ts";
import { within } from "./containers.ts";
import { frames, type FrameStream } from "./frames.ts";

const NEWLINE = 0x0a;

/** What a container wrote as one line. */
export interface LogLine {
  /** When the engine read it: RFC 3339 in UTC with nine digits after the second, so that text order is time order. */
  readonly at: string;
  readonly text: string;
}

export interface LogRange {
  /** Only what was written then or later. @default the whole log */
  readonly since?: Date | string | undefined;
  /** Only so many of its last lines. @default all */
  readonly tail?: number | undefined;
  /** Goes on with what the container writes from now on, until it ends. @default false */
  readonly follow?: boolean;
  /** Ends the reading with an error. */
  readonly signal?: AbortSignal;
}

/**
 * The lines of a container's log, both streams in their order, read no faster than they are taken.
 *
 * @throws StateError where the container's log driver keeps nothing that can be read
 * @see https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerLogs
 */
export async function* readLog(docker: Docker, container: string, range: LogRange = {}): AsyncGenerator<LogLine> {
  range.signal?.throwIfAborted();
  const stream = await open(docker, container, range);
  const end = () => stream.destroy();
  range.signal?.addEventListener("abort", end);
  const begun = new Map<number, { at: string; parts: Buffer[] }>();
  const whole = ({ at, parts }: { at: string; parts: Buffer[] }): LogLine => ({
    at,
    text: Buffer.concat(parts).toString("utf8").replace(/\n$/, ""),
  });
  try {
    for await (const { source, payload } of frames(stream)) {
      const space = payload.indexOf(" ");
      // The engine keeps a line of more than 16 KiB in parts, each with its own time. Only the last one ends the line.
      const line = begun.get(source) ?? { at: payload.toString("latin1", 0, space), parts: [] };
      line.parts.push(payload.subarray(space + 1));
      begun.set(source, line);
      if (payload.at(-1) !== NEWLINE) continue;
      begun.delete(source);
      yield whole(line);
    }
    for (const line of begun.values()) yield whole(line); // cut off, as by a container that was killed
  } finally {
    range.signal?.removeEventListener("abort", end);
    end();
  }
}

/** As Docker's API takes a time: seconds, and nine digits after the point. */
function unixTime(time: Date | string): string {
  if (time instanceof Date) return (time.getTime() / 1_000).toFixed(9);
  const [second, nanoseconds] = time.split(/[.Z]/);
  return `${Date.parse(`${second}Z`) / 1_000}.${nanoseconds}`;
}

/** The library's own call reads a log into memory as a whole unless it follows. */
function open(docker: Docker, container: string, { since, tail, follow = false }: LogRange): Promise<FrameStream> {
  const options = {
    stdout: true,
    stderr: true,
    timestamps: true,
    follow,
    ...(since === undefined ? {} : { since: unixTime(since) }),
    ...(tail === undefined ? {} : { tail }),
  };
  const statusCodes = { 200: true, 404: "no such container", 500: "server error", 501: "not implemented" };
  const path = `/containers/${container}/logs?`;
  return within(`give the log of ${container}`, ENGINE_QUESTION_MS, async () => {
    try {
      return await new Promise<FrameStream>((resolve, reject) =>
        docker.modem.dial(
          { path, method: "GET", isStream: true, statusCodes, options },
          (error: unknown, stream: unknown) => (error ? reject(error as Error) : resolve(stream as FrameStream)),
        ),
      );
    } catch (error) {
      throw (await unreadable(docker, container, error)) ?? error;
    }
  });
}

/** @see https://docs.docker.com/engine/logging/dual-logging/ */
async function unreadable(docker: Docker, container: string, cause: unknown): Promise<StateError | undefined> {
  if (!/does not support reading/.test((cause as Error).message)) return undefined;
  const { HostConfig } = await docker.getContainer(container).inspect();
  const driver = HostConfig.LogConfig?.Type;
  const problem = {
    subject: container,
    problem: `its log goes to Docker's log driver "${driver}", which keeps nothing that can be read`,
    remedy: "Read the log where that driver sends it. `up` makes containers with the driver json-file.",
  };
  return new StateError("The log cannot be read:", [problem], { cause });
}
