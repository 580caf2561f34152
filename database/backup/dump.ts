import { createWriteStream, renameSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import type Docker from "dockerode";
import { inspect } from "../../toolchain/engine/containers.ts";
import { privateFolder } from "../../base/paths.ts";
import { StateError, ToolError } from "../../base/errors.ts";

/** pg_dump's custom format begins with these bytes. */
const ARCHIVE_MAGIC = "PGDMP";

/** A database to be backed up, and where to. */
export interface BackupSource {
  /** Container that runs its server. */
  readonly container: string;
  readonly database: string;
  /** Made if it is not there, for this user only. */
  readonly folder: string;
}

/**
 * Dumps a database by the pg_dump inside its server's container, so that versions always fit, into a file of this
 * user's only.
 *
 * @returns path of the archive, for pg_restore
 * @throws StateError if the server does not run; ToolError if pg_dump fails or the archive cannot be read back; nothing
 *   may be changed then
 */
export async function backUp(
  docker: Docker,
  { container, database, folder }: BackupSource,
  report: (line: string) => void,
): Promise<string> {
  if ((await inspect(docker, container))?.State.Running !== true)
    throw new StateError(`Database ${database} cannot be backed up; nothing has been changed:`, [
      {
        subject: container,
        problem: "does not run",
        remedy: "See its log by `docker logs`; start it, or leave the backup out by --no-backup.",
      },
    ]);
  const file = path.join(privateFolder(folder), `${database}-${new Date().toISOString().replaceAll(":", "")}.dump`);
  const partial = `${file}.partial`;
  report(`backing up ${database}`);
  try {
    const begin = await dumpTo(docker, container, database, partial);
    if (begin !== ARCHIVE_MAGIC)
      throw new ToolError(`The backup of ${database} is no archive of pg_dump; nothing has been changed.`);
    renameSync(partial, file);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
  report(`backed up to ${file} (${Math.ceil(statSync(file).size / 1024)} KiB); restore with pg_restore`);
  return file;
}

async function dumpTo(docker: Docker, container: string, database: string, file: string): Promise<string> {
  const handle = await docker.getContainer(container).exec({
    Cmd: ["pg_dump", "-U", "postgres", "-h", "/run/postgresql", "-Fc", "-d", database],
    AttachStdout: true,
    AttachStderr: true,
  });
  const stream = await handle.start({ hijack: true, stdin: false });
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  let begin = "";
  let message = "";
  stdout.on("data", (chunk: Buffer) => {
    if (begin.length < ARCHIVE_MAGIC.length) begin = (begin + chunk.toString("latin1")).slice(0, ARCHIVE_MAGIC.length);
  });
  stderr.on("data", (chunk: Buffer) => (message += chunk.toString("utf8")));
  docker.modem.demuxStream(stream, stdout, stderr);
  stream.on("end", () => stdout.end());
  stream.on("close", () => stdout.end());
  await pipeline(stdout, createWriteStream(file, { mode: 0o600 }));
  const { ExitCode } = await handle.inspect();
  if (ExitCode !== 0) throw new ToolError(`pg_dump of ${database} failed; nothing has been changed: ${message.trim()}`);
  return begin;
}
