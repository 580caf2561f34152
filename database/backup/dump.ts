import { randomBytes } from "node:crypto";
import { renameSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type Docker from "dockerode";
import { inspect } from "../../toolchain/engine/containers.ts";
import { frames, type FrameStream } from "../../toolchain/engine/frames.ts";
import { privateFolder } from "../../base/paths.ts";
import { type Report, sayingHowFar } from "../../base/progress.ts";
import { until } from "../../base/retry.ts";
import { hasCode, messageOf, type Problem, StateError, ToolError } from "../../base/errors.ts";
import { localSql } from "../local-sql.ts";

/** pg_dump's custom format begins with these bytes. */
const ARCHIVE_MAGIC = Buffer.from("PGDMP");

/** The number of a frame's source. */
const STDERR = 2;

/** The engine knows a command's exit code a moment after its output has ended. */
const EXIT_CODE_MS = 30_000;

/** A database to be dumped, and how. */
export interface DumpSource {
  /** Container that runs its server. */
  readonly container: string;
  readonly database: string;
  /** custom: an archive for pg_restore, compressed. plain: SQL for psql. @default custom */
  readonly format?: "custom" | "plain";
  /** Further arguments of pg_dump. @default none */
  readonly args?: readonly string[];
  /** Gives up. pg_dump is ended, and its session on the server. */
  readonly signal?: AbortSignal;
}

/** What a dump brought. */
export interface Dumped {
  readonly bytes: number;
  /** What pg_dump had to say although it did its work. */
  readonly warnings: readonly string[];
}

/**
 * Dumps a database by the pg_dump inside its server's container, so that versions always fit. It runs as the superuser
 * over the container's own socket: no other role sees everything, whatever rights and row security say.
 *
 * @param sink gets the dump, byte for byte. It is not ended.
 * @throws StateError if the server does not run; ToolError if pg_dump or the sink fails, or the archive is none. What
 *   the sink got then is no dump
 */
export async function dumpInto(docker: Docker, source: DumpSource, sink: Writable, report: Report): Promise<Dumped> {
  const { container, database, format = "custom", args = [], signal } = source;
  if ((await inspect(docker, container))?.State.Running !== true)
    throw dumpProblem(database, { subject: container, problem: "does not run" });
  // Names the session on the server, so that it can be ended.
  const name = `aiwdb dump ${randomBytes(8).toString("hex")}`;
  const handle = await docker.getContainer(container).exec({
    Cmd: ["pg_dump", "-U", "postgres", "-h", "/run/postgresql", `--format=${format}`, ...args, "-d", database],
    Env: [`PGAPPNAME=${name}`],
    AttachStdout: true,
    AttachStderr: true,
  });
  signal?.throwIfAborted();
  const stream = (await handle.start({ hijack: true, stdin: false })) as unknown as FrameStream;
  let bytes = 0;
  let begin = Buffer.alloc(0);
  const said: Buffer[] = [];
  const dump = async function* () {
    for await (const { source: from, payload } of frames(stream)) {
      if (from === STDERR) {
        said.push(payload);
        continue;
      }
      bytes += payload.length;
      begin = Buffer.concat([begin, payload.subarray(0, ARCHIVE_MAGIC.length - begin.length)]);
      yield payload;
    }
  };
  // A pipeline waits for what it reads from, also when it has given up, and a dump that waits for a lock writes nothing.
  const giveUp = () => void stream.destroy();
  signal?.addEventListener("abort", giveUp);
  sink.once("error", giveUp);
  const howFar = () => `dumping ${database}: ${sizeText(bytes)} so far`;
  try {
    await sayingHowFar(report, howFar, () => pipeline(dump, sink, { end: false, ...(signal ? { signal } : {}) }));
  } catch (cause) {
    giveUp();
    await endSession(docker, container, name, report);
    signal?.throwIfAborted();
    const reason = hasCode(cause, "EPIPE") ? "whoever reads it has left" : messageOf(cause);
    throw new ToolError(`The dump of ${database} was cut off: ${reason}`, [], { cause });
  }
  const ended = await until(
    async () => {
      const { Running, ExitCode } = await handle.inspect();
      return Running ? undefined : { ExitCode };
    },
    { deadlineMs: EXIT_CODE_MS },
  );
  const message = Buffer.concat(said).toString("utf8").trim();
  if (ended?.ExitCode !== 0)
    throw new ToolError(
      `pg_dump of ${database} failed with exit code ${ended?.ExitCode ?? "unknown"}: ${message || "it was ended"}`,
    );
  if (format === "custom" && !begin.equals(ARCHIVE_MAGIC))
    throw new ToolError(`What pg_dump wrote of ${database} is no archive.`);
  return { bytes, warnings: message.split("\n").filter((line) => line !== "") };
}

function dumpProblem(database: string, problem: Problem): StateError {
  return new StateError(`Database ${database} cannot be dumped:`, [problem]);
}

/** Ends what a dump that was given up leaves on the server: pg_dump itself does not see that nobody reads it. */
async function endSession(docker: Docker, container: string, name: string, report: Report): Promise<void> {
  const sql = `select pg_terminate_backend(pid) from pg_stat_activity where application_name = '${name}'`;
  await localSql(docker, container, sql).catch((error: unknown) =>
    report(`pg_dump may still be at work in ${container}: ${messageOf(error)}`),
  );
}

/**
 * Dumps a database into a file of this user's only. The file has its name only when it is whole.
 *
 * @throws like `dumpInto`; nothing is left of the file then
 */
export async function dumpToFile(docker: Docker, source: DumpSource, file: string, report: Report): Promise<Dumped> {
  const partial = `${file}.${process.pid}.partial`;
  const handle = await open(partial, "wx", 0o600);
  try {
    const sink = handle.createWriteStream({ flush: true });
    const dumped = await dumpInto(docker, source, sink, report);
    await new Promise<void>((resolve, reject) => void sink.on("error", reject).on("close", resolve).end());
    renameSync(partial, file);
    return dumped;
  } finally {
    await handle.close();
    rmSync(partial, { force: true });
  }
}

/** A number of bytes for people. */
export function sizeText(bytes: number): string {
  return bytes < 10 * 1024 ** 2 ? `${Math.ceil(bytes / 1024)} KiB` : `${Math.round(bytes / 1024 ** 2)} MiB`;
}

/** A database to be backed up, and where to. */
export interface BackupSource extends Pick<DumpSource, "container" | "database"> {
  /** Made if it is not there, for this user only. */
  readonly folder: string;
}

/**
 * Dumps a database into a file of the time, before something is changed.
 *
 * @returns path of the archive, for pg_restore
 * @throws like `dumpToFile`; nothing may be changed then
 */
export async function backUp(docker: Docker, { folder, ...source }: BackupSource, report: Report): Promise<string> {
  const { database } = source;
  const file = path.join(privateFolder(folder), `${database}-${new Date().toISOString().replaceAll(":", "")}.dump`);
  report(`backing up ${database}`);
  try {
    await dumpToFile(docker, source, file, report);
  } catch (cause) {
    const remedy = `See its log by \`docker logs ${source.container}\`; start it, or leave the backup out by --no-backup.`;
    const problem = { subject: source.container, problem: messageOf(cause), remedy };
    throw new StateError(`Database ${database} cannot be backed up; nothing has been changed:`, [problem], { cause });
  }
  report(`backed up to ${file} (${Math.ceil(statSync(file).size / 1024)} KiB); restore with pg_restore`);
  return file;
}
