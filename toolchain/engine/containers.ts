import { createRequire } from "node:module";
import { PassThrough } from "node:stream";
import type Docker from "dockerode";
import tar from "tar-stream";
import { ToolError } from "../../base/errors.ts";
import { cancelled } from "../../base/cancellation.ts";

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
 * Asks the engine to do something, and gives up one that does not answer, or when the user stops Pulumi.
 *
 * @param what it is to do, as in "did not ... within 30 s"
 * @param signal of the caller's own, whose reason is the error then
 */
export async function within<T>(
  what: string,
  limitMs: number,
  work: (options: { abortSignal: AbortSignal }) => Promise<T>,
  signal: AbortSignal = cancelled,
): Promise<T> {
  const limit = AbortSignal.timeout(limitMs);
  const abortSignal = AbortSignal.any([limit, cancelled, signal]);
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

/**
 * What `docker inspect` says of a container; undefined if there is none of that name.
 *
 * @param abortSignal gives up an engine that does not answer
 */
export async function inspect(
  docker: Docker,
  container: string,
  abortSignal?: AbortSignal,
): Promise<Docker.ContainerInspectInfo | undefined> {
  try {
    return await within(
      `tell about container ${container}`,
      QUESTION_MS,
      (options) => docker.getContainer(container).inspect(options),
      abortSignal,
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

/** The last lines a container wrote: what the user needs to see when it does not start. */
export async function lastLines(docker: Docker, container: string, lines = 15): Promise<string> {
  const raw = await within(`give the log of ${container}`, QUESTION_MS, (options) =>
    docker.getContainer(container).logs({ stdout: true, stderr: true, tail: lines, ...options }),
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
 * @param abortSignal gives up an engine or a command that does not answer; the command goes on in the container
 */
export async function exec(
  docker: Docker,
  container: string,
  command: readonly string[],
  stdin?: string,
  abortSignal?: AbortSignal,
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
    abortSignal,
  );
}

function collect() {
  const chunks: Buffer[] = [];
  const stream = new PassThrough();
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString("utf8") };
}

/** Runs SQL as the superuser over the container's local socket, which the network cannot reach. */
export async function localSql(
  docker: Docker,
  container: string,
  sql: string,
  { database = "postgres", abortSignal }: { readonly database?: string; readonly abortSignal?: AbortSignal } = {},
): Promise<string> {
  const command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database];
  const { exitCode, stdout, stderr } = await exec(docker, container, command, sql, abortSignal);
  if (exitCode !== 0) throw new ToolError(`PostgreSQL in container ${container} refused a statement: ${stderr.trim()}`);
  return stdout.trim();
}

export interface FileSpec {
  readonly content: string;
  /** Permission bits. */
  readonly mode: number;
}

/** A tar archive of files, and of symbolic links to their targets, that belong to `uid`. */
export function archive(
  files: Readonly<Record<string, FileSpec>>,
  uid: number,
  prefix = "",
  links: Readonly<Record<string, string>> = {},
): NodeJS.ReadableStream {
  const pack = tar.pack();
  const folders = new Set<string>();
  for (const [name, { content, mode }] of Object.entries(files)) {
    const parts = `${prefix}${name}`.split("/").slice(0, -1);
    for (const [index] of parts.entries()) {
      const folder = parts.slice(0, index + 1).join("/");
      if (folders.has(folder)) continue;
      folders.add(folder);
      pack.entry({ name: folder, type: "directory", mode: 0o700, uid, gid: uid });
    }
    pack.entry({ name: `${prefix}${name}`, mode, uid, gid: uid }, content);
  }
  for (const [name, linkname] of Object.entries(links)) pack.entry({ name, type: "symlink", linkname, uid, gid: uid });
  pack.finalize();
  return pack;
}

/** Link to the one folder whose files are in force, in a volume that keeps its files in versions. */
export const CURRENT_VERSION = ".current";

interface ArchiveEntry {
  readonly header: tar.Headers;
  readonly text: string;
}

/** What is at a path inside a container, running or not, by the entries of the tar archive that the engine makes of it. */
async function readEntries(container: Docker.Container, path: string): Promise<readonly ArchiveEntry[]> {
  const stream = await within(`read ${path} of container ${container.id}`, ACTION_MS, (options) =>
    container.getArchive({ path, ...options }),
  );
  const entries: ArchiveEntry[] = [];
  const extract = tar.extract();
  extract.on("entry", (header, entry, next) => {
    const chunks: Buffer[] = [];
    entry.on("data", (chunk: Buffer) => chunks.push(chunk));
    entry.on("end", () => {
      entries.push({ header, text: Buffer.concat(chunks).toString("utf8") });
      next();
    });
  });
  await new Promise<void>((resolve, reject) => {
    extract.on("finish", resolve);
    extract.on("error", reject);
    stream.on("error", reject);
    stream.pipe(extract);
  });
  return entries;
}

/** Text files of a folder inside a container, by path below it; in a volume with versions, those of the current one. */
export async function readArchive(docker: Docker, container: string, folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  let current: string | undefined;
  for (const { header, text } of await readEntries(docker.getContainer(container), folder)) {
    const name = header.name.split("/").slice(1).join("/");
    if (header.type === "file") files[name] = text;
    if (header.type === "symlink" && name === CURRENT_VERSION) current = `${header.linkname ?? ""}/`;
  }
  if (current === undefined) return files;
  const prefix = current;
  return Object.fromEntries(
    Object.entries(files)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, content]) => [name.slice(prefix.length), content]),
  );
}

/** Text of a file inside a container, running or not; undefined where there is none. */
export async function readFile(container: Docker.Container, path: string): Promise<string | undefined> {
  try {
    const [file] = await readEntries(container, path);
    return file?.text;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
