import { execFile, spawn, type ExecFileOptions } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { promisify } from "node:util";
import { hasCode, ToolError } from "../../base/errors.ts";
import { isEndedOrHidden, processStart } from "../../base/process-identity.ts";
import { until } from "../../base/retry.ts";
import { words } from "../../base/words.ts";
import { account } from "./place.ts";
import type { Programs } from "./programs.ts";

/**
 * A PostgreSQL server as a process of this machine, with all its files in one folder. Call `makeCluster`, then
 * `runAlone` as often as needed, then `startServer`, and in the end `removeServer`. The last one needs only the folder,
 * however far the others came. container.ts does the same with a data volume of a container.
 */

const STARTS_MS = 30_000;
const STOPS_MS = 20_000;

const dataOf = (folder: string) => path.join(folder, "data");

/** How the server's programs are started: as its account, with nothing of the caller's environment. */
const asServer = (folder: string) => ({
  ...account(),
  env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C.UTF-8", TZ: "UTC" },
  cwd: folder,
});

/** Makes the folder of a server, which its account owns. */
export function makeFolder(folder: string): void {
  mkdirSync(folder, { mode: 0o700 });
  const owner = account();
  if (owner) chownSync(folder, owner.uid, owner.gid);
}

/** Makes an empty cluster: UTF-8, checksums, and passwords wanted by any way but the folder's socket. */
export function makeCluster(programs: Programs, folder: string): Promise<void> {
  const options = words(`
    --username=postgres --auth-local=peer --auth-host=scram-sha-256 --data-checksums --encoding=UTF8 --locale=C.UTF-8
    --no-instructions --no-sync
  `);
  const initdb = path.join(programs.folder, "bin/initdb");
  return execute(initdb, ["--pgdata", dataOf(folder), ...options], asServer(folder));
}

/** Runs SQL, one statement a line, before the server listens anywhere: nobody can log in without what is set here. */
export function runAlone(programs: Programs, folder: string, sql: string): Promise<void> {
  const options = words("-c exit_on_error=on -c log_checkpoints=off -c fsync=off postgres");
  const postgres = path.join(programs.folder, "bin/postgres");
  return execute(postgres, ["--single", "-D", dataOf(folder), ...options], asServer(folder), sql);
}

/** Rendered files of a server, and where it listens. */
export interface ServerFiles {
  /** Text of postgresql.conf. */
  readonly conf: string;
  /** Text of pg_hba.conf. */
  readonly hba: string;
  /** Wanted port on 127.0.0.1; another one is taken where it is not free. */
  readonly port: number;
}

/**
 * Starts the server, which outlives this process. Its certificates are `tls/ca.crt`, `tls/server.crt` and
 * `tls/server.key` in its folder.
 *
 * @returns the port it listens on
 * @throws ToolError with the end of its log when it does not start
 */
export async function startServer(programs: Programs, folder: string, files: ServerFiles): Promise<number> {
  const conf = path.join(folder, "postgresql.conf");
  const hba = path.join(folder, "pg_hba.conf");
  writeFileSync(conf, files.conf, { mode: 0o644 });
  writeFileSync(hba, files.hba, { mode: 0o644 });
  const port = await freePort(files.port);
  const log = openSync(path.join(folder, "log"), "a", 0o600);
  const options = {
    config_file: conf,
    hba_file: hba,
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: folder,
    ssl_ca_file: path.join(folder, "tls/ca.crt"),
    ssl_cert_file: path.join(folder, "tls/server.crt"),
    ssl_key_file: path.join(folder, "tls/server.key"),
  };
  const child = spawn(
    path.join(programs.folder, "bin/postgres"),
    ["-D", dataOf(folder), ...Object.entries(options).flatMap(([key, value]) => ["-c", `${key}=${value}`])],
    { ...asServer(folder), detached: true, stdio: ["ignore", log, log] },
  );
  await once(child, "spawn");
  child.unref();
  await accepting(dataOf(folder), child.pid as number, path.join(folder, "log"));
  return port;
}

/** postmaster.pid has eight lines once the server accepts connections; the last says so. */
async function accepting(data: string, pid: number, log: string): Promise<void> {
  const file = path.join(data, "postmaster.pid");
  const isReady = await until(
    async () => {
      if (existsSync(file) && readFileSync(file, "utf8").split("\n")[7]?.trim() === "ready") return true;
      return processStart(pid) === undefined ? false : undefined;
    },
    { deadlineMs: STARTS_MS, everyMs: 5 },
  );
  if (!isReady)
    throw new ToolError("PostgreSQL did not start.", [{ subject: log, problem: lastLines(readFileSync(log, "utf8")) }]);
}

const lastLines = (text: string): string => text.trim().split("\n").slice(-10).join("\n");

/** Whether the server's process is there, whatever it answers. */
export function isRunning(folder: string): boolean {
  return postmaster(folder) !== undefined;
}

/** Has a running server read its files again. @returns false where it does not run */
export function reload(folder: string): boolean {
  const pid = postmaster(folder);
  if (pid !== undefined) process.kill(pid, "SIGHUP");
  return pid !== undefined;
}

/**
 * Ends the server and what was making its cluster, and removes its folder. Nothing of it is there afterwards.
 *
 * @param what how it is named when it does not end
 */
export async function removeServer(folder: string, what: string): Promise<void> {
  for (const pid of processesOf(folder)) signal(pid, "SIGQUIT"); // its data goes; nothing is worth a shutdown checkpoint
  const isEnded = async () => processesOf(folder).length === 0 || undefined;
  if (!(await until(isEnded, { deadlineMs: STOPS_MS, everyMs: 10 })))
    throw new ToolError(`PostgreSQL (process ${processesOf(folder).join(", ")}) of ${what} does not end.`);
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}

function postmaster(folder: string): number | undefined {
  const file = path.join(folder, "data/postmaster.pid");
  if (!existsSync(file)) return undefined;
  const pid = Number(readFileSync(file, "utf8").split("\n")[0]);
  // The number may be another process' by now; the server is the one that was started with this folder.
  return pid > 0 && processStart(pid) !== undefined && isOf(pid, folder) ? pid : undefined;
}

function isOf(pid: number, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(path.join(folder, "data"));
  } catch (error) {
    if (!isEndedOrHidden(error)) throw error;
    return !existsSync("/proc"); // no such file system on this machine: the number has to do
  }
}

/** The server, and what was making its cluster: neither may have written its number down yet. */
function processesOf(folder: string): number[] {
  const all = existsSync("/proc") ? readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)) : [];
  const found = all.map(Number).filter((pid) => isOf(pid, folder));
  const known = postmaster(folder);
  return known && !found.includes(known) ? [...found, known] : found;
}

/** Runs a program as the server's account; its output is shown only when it fails. */
async function execute(program: string, args: string[], options: ExecFileOptions, input = ""): Promise<void> {
  const running = promisify(execFile)(program, args, { ...options, maxBuffer: Infinity });
  running.child.stdin?.end(input);
  try {
    await running;
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code?: string | number; stdout: string; stderr: string };
    const name = path.basename(program);
    if (typeof code === "string") throw new ToolError(`${name} could not be started.`, [], { cause });
    throw new ToolError(`${name} failed:\n${lastLines(stdout + stderr)}`);
  }
}

/** The wanted port if it is free, else any. */
function freePort(wanted: number): Promise<number> {
  const attempt = (port: number) =>
    new Promise<number | undefined>((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(undefined));
      server.listen({ host: "127.0.0.1", port }, () => {
        const { port: bound } = server.address() as { port: number };
        server.close(() => resolve(bound));
      });
    });
  return attempt(wanted).then(async (port) => port ?? ((await attempt(0)) as number));
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!hasCode(error, "ESRCH")) throw error; // it has just ended by itself
  }
}
