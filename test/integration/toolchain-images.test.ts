import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type Docker from "dockerode";
import { pack } from "tar-stream";
import { afterEach, beforeAll, expect, test } from "vitest";
import { ensureEngine } from "../../toolchain/engine/find.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { buildImage, findImage } from "../../toolchain/images/build.ts";
import { imageTag, type ImageKind } from "../../toolchain/images/tag.ts";
import { ensureImages } from "../../toolchain/images/ensure.ts";

const OWNER = { postgres: 999, pgbouncer: 998 };
const report = () => undefined;
let docker: Docker;
const containers: Docker.Container[] = [];
const volumes: string[] = [];

beforeAll(async () => {
  docker = engineClient(await ensureEngine(report));
  await ensureImages({ docker, report });
}, 600_000);

afterEach(async () => {
  for (const container of containers.splice(0)) await container.remove({ force: true, v: true });
  for (const name of volumes.splice(0)) await docker.getVolume(name).remove({ force: true });
});

async function volume(): Promise<string> {
  const { name } = await docker.createVolume();
  volumes.push(name);
  return name;
}

interface Start {
  files?: Record<string, string>;
  data?: string;
  entrypoint?: string[];
}

/** A container under the same restrictions as in a stack, with these files in its configuration volume. */
async function create(kind: ImageKind, { files = {}, data, entrypoint }: Start = {}): Promise<Docker.Container> {
  const owner = OWNER[kind];
  const socketFolder = kind === "postgres" ? "/run/postgresql" : "/run/pgbouncer";
  const configFolder = kind === "postgres" ? "/etc/postgresql" : "/etc/pgbouncer";
  const container = await docker.createContainer({
    Image: imageTag(kind),
    ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
    HostConfig: {
      Init: true,
      NetworkMode: "none",
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      Tmpfs: { "/tmp": "", [socketFolder]: `uid=${owner},gid=${owner},mode=0700` },
      Binds: [`${await volume()}:${configFolder}`, ...(data === undefined ? [] : [`${data}:/var/lib/postgresql/data`])],
    },
  });
  containers.push(container);
  const archive = pack();
  for (const [name, content] of Object.entries(files))
    archive.entry({ name, uid: owner, gid: owner, mode: 0o600 }, content);
  archive.finalize();
  // The library takes any stream; its types ask for a file stream.
  await container.putArchive(archive as unknown as NodeJS.ReadableStream, { path: configFolder });
  return container;
}

async function logs(container: Docker.Container): Promise<string> {
  return (await container.logs({ stdout: true, stderr: true })).toString();
}

async function exec(container: Docker.Container, ...command: string[]): Promise<{ code: number; output: string }> {
  const run = await container.exec({ Cmd: command, AttachStdout: true, AttachStderr: true, Tty: true });
  const stream = await run.start({ Tty: true });
  let output = "";
  for await (const chunk of stream) output += String(chunk);
  return { code: (await run.inspect()).ExitCode ?? -1, output: output.trim() };
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within two minutes: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const healthy = (container: Docker.Container) =>
  until(
    "the health check succeeds",
    async () => (await exec(container, "healthcheck").catch(() => undefined))?.code === 0,
  );

let certificate: { crt: string; key: string };
beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "aiwdb-tls-"));
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", join(folder, "key")];
  await promisify(execFile)("openssl", [
    "req",
    "-x509",
    ...key,
    "-out",
    join(folder, "crt"),
    "-subj",
    "/CN=test",
    "-days",
    "1",
  ]);
  certificate = { crt: readFileSync(join(folder, "crt"), "utf8"), key: readFileSync(join(folder, "key"), "utf8") };
  rmSync(folder, { recursive: true });
});

function tls(): Record<string, string> {
  const { crt, key } = certificate;
  return { "tls/ca.crt": crt, "tls/server.crt": crt, "tls/server.key": key };
}

const postgresFiles = () => ({
  ...tls(),
  "postgresql.conf": [
    "listen_addresses = ''",
    "unix_socket_directories = '/run/postgresql'",
    "hba_file = '/etc/postgresql/pg_hba.conf'",
    "ssl = on",
    "ssl_cert_file = '/etc/postgresql/tls/server.crt'",
    "ssl_key_file = '/etc/postgresql/tls/server.key'",
    "",
  ].join("\n"),
  "pg_hba.conf": "local all all peer\n",
});

const psql = (container: Docker.Container, sql: string) =>
  exec(container, "psql", "-XAtq", "-h", "/run/postgresql", "-U", "postgres", "-c", sql, "postgres");

test("PostgreSQL comes up from nothing, with checksums, as its own user and closed to PUBLIC", async () => {
  const container = await create("postgres", { files: postgresFiles(), data: await volume() });
  await container.start();
  await healthy(container);
  expect((await psql(container, "show data_checksums")).output).toBe("on");
  expect((await psql(container, "show server_encoding")).output).toBe("UTF8");
  const open =
    "select count(*) from pg_database where has_database_privilege('public', oid, 'connect') and datallowconn";
  expect((await psql(container, open)).output).toBe("0");
  expect((await exec(container, "id", "-u")).output).toBe("999");
  const modes = await exec(
    container,
    "stat",
    "-c",
    "%u %a",
    "/var/lib/postgresql/data",
    "/var/lib/postgresql/data/pgdata",
  );
  const [owner, mode, ...cluster] = modes.output.trim().split(/\s+/);
  expect(owner).toBe("999");
  // The official image declares the volume, after which the classic builder drops what a Dockerfile does to its folder.
  expect(mode).toMatch(/^(?:700|1777)$/);
  expect(cluster).toEqual(["999", "700"]);
  expect((await exec(container, "touch", "/usr/x")).code).not.toBe(0);
});

test("PostgreSQL stops fast while a client is connected, and starts again with its data", async () => {
  const container = await create("postgres", { files: postgresFiles(), data: await volume() });
  await container.start();
  await healthy(container);
  await psql(container, "create table kept as select 1 as a");
  void psql(container, "select pg_sleep(60)");
  const sleeping = async () =>
    (await psql(container, "select count(*) from pg_stat_activity where query like '%sleep(60)'")).output !== "0";
  await until("the other session sleeps", sleeping);
  await container.stop({ t: 120 });
  // It did not wait for its client, and was not killed in the end.
  const said = await logs(container);
  expect(said).toContain("received fast shutdown request");
  expect(said).toContain("terminating connection due to administrator command");
  expect(said).toContain("database system is shut down");
  expect((await container.inspect()).State.ExitCode).toBe(0);
  await container.start();
  await healthy(container);
  expect((await psql(container, "select a from kept")).output).toBe("1");
});

test("PostgreSQL makes a whole cluster after a first start that was killed half-way", async () => {
  const data = await volume();
  const first = await create("postgres", { files: postgresFiles(), data });
  await first.start();
  await until("initdb is running", async () => (await logs(first)).includes("creating subdirectories"));
  await first.kill();
  const second = await create("postgres", { files: postgresFiles(), data });
  await second.start();
  await healthy(second);
  const { output } = await exec(second, "sh", "-c", "ls -A /var/lib/postgresql/data");
  expect(output.split(/\s+/)).toEqual([".lock", "pgdata"]);
});

test("a second PostgreSQL on the same data volume is refused", async () => {
  const data = await volume();
  const first = await create("postgres", { files: postgresFiles(), data });
  await first.start();
  await healthy(first);
  const second = await create("postgres", { files: postgresFiles(), data });
  await second.start();
  expect((await second.wait()).StatusCode).toBe(1);
  expect(await logs(second)).toContain("another container is running on this data volume");
  expect((await psql(first, "select 1")).output).toBe("1");
});

test("PostgreSQL without its files says which, and touches nothing", async () => {
  const data = await volume();
  const container = await create("postgres", {
    files: { "postgresql.conf": "", "pg_hba.conf": "", "tls/ca.crt": "" },
    data,
  });
  await container.start();
  expect((await container.wait()).StatusCode).toBe(1);
  expect(await logs(container)).toContain(
    "/etc/postgresql lacks tls/server.crt tls/server.key (or user 999 may not read it)",
  );
});

test("PostgreSQL's client programs are of its own version and know TLS", async () => {
  const container = await create("postgres", { entrypoint: ["sleep", "60"] });
  await container.start();
  const server = /\d+\.\d+/.exec((await exec(container, "postgres", "--version")).output)?.[0];
  expect((await exec(container, "pg_dump", "--version")).output).toContain(server);
  const { output } = await exec(
    container,
    "pg_isready",
    "--dbname",
    "host=localhost sslmode=verify-full sslrootcert=/none",
  );
  expect(output).not.toContain("sslmode value");
});

const pgbouncerFiles = () => ({
  ...tls(),
  "tls/client.crt": certificate.crt,
  "tls/client.key": certificate.key,
  "userlist.txt": "",
  "pgbouncer_hba.conf": "local all all reject\n",
  "pgbouncer.ini": ["[databases]", "[pgbouncer]", "unix_socket_dir = /run/pgbouncer", "listen_port = 6432", ""].join(
    "\n",
  ),
});

test("PgBouncer comes up as its own user, answers its health check and stops at once", async () => {
  const container = await create("pgbouncer", { files: pgbouncerFiles() });
  await container.start();
  await healthy(container);
  expect((await exec(container, "id", "-u")).output).toBe("998");
  await container.stop({ t: 120 });
  // Killed at the end of its time it would say 137.
  expect((await container.inspect()).State.ExitCode).toBe(0);
});

test("PgBouncer without its files says which", async () => {
  const container = await create("pgbouncer");
  await container.start();
  expect((await container.wait()).StatusCode).toBe(1);
  expect(await logs(container)).toContain(
    "/etc/pgbouncer lacks pgbouncer.ini userlist.txt pgbouncer_hba.conf tls/ca.crt",
  );
});

test("a build that is cut off or fails leaves no image under its tag", async () => {
  const folder = mkdtempSync(join(tmpdir(), "aiwdb-build-"));
  const tag = `ai-workflow-database/test:${process.pid}`;
  try {
    writeFileSync(join(folder, "Dockerfile"), `ARG BASE\nFROM \${BASE}\nRUN echo started && exit 3\n`);
    await expect(buildImage(docker, folder, tag, imageTag("pgbouncer"), "packages")).rejects.toThrow(
      /can't be built: .*code: 3/,
    );
    expect(await findImage(docker, tag)).toBeUndefined();

    writeFileSync(join(folder, "Dockerfile"), `ARG BASE\nFROM \${BASE}\nRUN sleep 60\n`);
    const script = `
      import { engineClient } from "${import.meta.dirname}/../../toolchain/engine/client.ts";
      import { buildImage } from "${import.meta.dirname}/../../toolchain/images/build.ts";
      await buildImage(engineClient(process.argv[1]), process.argv[2], process.argv[3], process.argv[4], "packages");`;
    const host = (await ensureEngine(report)).host;
    const building = promisify(execFile)(process.execPath, [
      "--input-type=module-typescript",
      "--eval",
      script,
      host,
      folder,
      tag,
      imageTag("pgbouncer"),
    ]);
    const isBuilding = async () => (await docker.listContainers()).some(({ Command }) => Command.includes("sleep 60"));
    await until("the build runs", isBuilding);
    building.child.kill("SIGKILL");
    await expect(building).rejects.toThrow("Command failed");
    await until("the engine gives the build up", async () => !(await isBuilding()));
    expect(await findImage(docker, tag)).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
