import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createConnection, createServer, Socket, type Server } from "node:net";
import { request } from "node:http";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { stateFile } from "../../stack/backend.ts";
import { clientCertificateFolder, stackFolder } from "../../infra/settings/places.ts";
import { isLocalServerRunning, readLocalRecord } from "../../testing/server/local.ts";
import { openRegistry } from "../../testing/pool/registry.ts";
import { adminConfig, readServer, SERVER_VARIABLE, writeServer } from "../../testing/description/server.ts";
import { serverFiles } from "../../testing/description/files.ts";
import type { Problem } from "../../base/errors.ts";
import { closeTestDatabases, testDatabase } from "../../testing/databases/test-database.ts";
import {
  aiwdb,
  expireCertificates,
  LIBRARY,
  MAIN,
  mustSucceed,
  ownHome,
  until,
  type Result,
} from "../helpers/testdb.ts";

const NAME = `ci-ts${process.pid}`;
const OTHER = `ci-tx${process.pid}`;
/** No engine at all: what is done here needs none, and nobody else's stacks may be seen. */
const NO_ENGINE = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };

let home: { remove(): void };

const start = (name: string, ...args: string[]) =>
  aiwdb(["testdb", "start", "--engine", "local", "--name", name, ...args]);
const stop = (name: string) => aiwdb(["testdb", "stop", "--name", name]);
const postmaster = (name = NAME) =>
  Number(readFileSync(path.join(readLocalRecord(name)!.folder, "data/postmaster.pid"), "utf8").split("\n")[0]);
const keeper = () =>
  (JSON.parse(readFileSync(path.join(stackFolder(NAME), "testdb.pid"), "utf8")) as { pid: number }).pid;

beforeAll(() => {
  home = ownHome();
  process.env[SERVER_VARIABLE] = NAME;
});

afterAll(async () => {
  await closeTestDatabases();
  for (const name of [NAME, OTHER]) if (existsSync(serverFiles(name).local)) mustSucceed(await stop(name));
  home.remove();
});

describe("a local server", () => {
  test("started five times at once is one server with one pool", async () => {
    const results = await Promise.all(Array.from({ length: 5 }, () => start(NAME, "--json").then(mustSucceed)));
    const answers = results.map(({ stdout }) => JSON.parse(stdout) as { created: boolean; direct: { port: number } });
    expect(answers.filter(({ created }) => created)).toHaveLength(1);
    expect(new Set(answers.map(({ direct }) => direct.port))).toEqual(new Set([readServer().direct.port]));
    const registry = await openRegistry(readServer());
    const { rows } = await registry.client.query<{ keepers: number }>(
      "select count(*)::integer as keepers from pg_locks where locktype = 'advisory' and classid = 3 and objsubid = 2",
    );
    expect(rows).toEqual([{ keepers: 1 }]);
    await registry.close();
  });

  test("listens on 127.0.0.1 and lets nobody in from another address of this machine, not even where a pooler would be", async () => {
    const server = readServer();
    const admin = new pg.Client(adminConfig(server, "postgres"));
    await admin.connect();
    const { rows } = await admin.query("show listen_addresses");
    await admin.end();
    expect(rows).toEqual([{ listen_addresses: "127.0.0.1" }]);
    const { database, roles } = server;
    const { sslRootCert, sslCert, sslKey } = roles.app_user;
    const from = async (localAddress: string, user: "app_user" | "app_readonly") => {
      const stream = () => {
        const socket = new Socket();
        const connect = socket.connect.bind(socket);
        socket.connect = ((port: number, host: string) => connect({ port, host, localAddress })) as typeof connect;
        return socket;
      };
      const ssl = { ca: readFileSync(sslRootCert), cert: readFileSync(sslCert), key: readFileSync(sslKey) };
      const client = new pg.Client({ ...server.direct, database, user, password: roles[user].password, ssl, stream });
      try {
        await client.connect();
        return "let in";
      } catch (error) {
        return (error as Error).message;
      } finally {
        client.end().catch(() => {});
      }
    };
    // Past certificate and password: the role has no right on the stack's own database here.
    expect(await from("127.0.0.1", "app_user")).toMatch(/permission denied for database/);
    expect(await from("127.0.0.1", "app_readonly")).toMatch(/authentication failed for user "app_readonly"/);
    for (const address of ["127.0.0.2", "127.0.0.3", "127.0.0.4"])
      for (const user of ["app_user", "app_readonly"] as const)
        expect(await from(address, user)).toMatch(/pg_hba\.conf rejects connection for host "127\.0\.0\.\d"/);
  });

  test("that refuses once is not taken for gone", async () => {
    const server = readServer();
    const before = postmaster();
    let refusals = 0;
    const proxy: Server = createServer((socket) => {
      socket.on("error", () => {});
      if ((refusals += 1) <= 3) {
        socket.resetAndDestroy();
        return;
      }
      const onward = createConnection(server.direct);
      onward.on("error", () => socket.destroy());
      socket.on("close", () => onward.destroy());
      socket.pipe(onward).pipe(socket);
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => {
      proxy.close();
      writeServer(server);
    });
    writeServer({ ...server, direct: { host: "127.0.0.1", port: (proxy.address() as { port: number }).port } });
    const { created } = JSON.parse(mustSucceed(await start(NAME, "--json")).stdout) as { created: boolean };
    expect([created, postmaster(), refusals > 3]).toEqual([false, before, true]);
  });

  test("that runs and never answers is left alone, and the error says so", async () => {
    const server = readServer();
    const before = postmaster();
    onTestFinished(() => writeServer(server));
    const wrong = { ...server.roles.postgres, password: "another" };
    writeServer({ ...server, roles: { ...server.roles, postgres: wrong } });
    const result = await start(NAME);
    expect([result.exitCode, result.stderr]).toEqual([
      1,
      expect.stringContaining("runs and does not answer; nothing has been changed"),
    ]);
    expect(postmaster()).toBe(before);
  });

  test("whose certificates have expired says so, and start renews them with everything still in it", async () => {
    const db = await testDatabase({ label: "stays" });
    await expireCertificates(4_000);
    const listed = await aiwdb(["testdb", "list"]);
    expect([listed.exitCode, listed.stderr]).toEqual([1, expect.stringContaining("What is in it stays.")]);
    mustSucceed(await start(NAME));
    expect(mustSucceed(await aiwdb(["testdb", "list"])).stdout).toContain(db.name);
    await db.drop();
  });

  test("that is marked production is neither stopped nor taken from", async () => {
    const server = readServer();
    const admin = new pg.Client(adminConfig(server, "postgres"));
    await admin.connect();
    const db = await testDatabase();
    try {
      await admin.query(`alter database ${server.database} set aiwdb.environment = 'production'`);
      const stopped = await stop(NAME);
      expect([stopped.exitCode, stopped.stderr]).toEqual([1, expect.stringContaining("marked production")]);
      expect(isLocalServerRunning(NAME)).toBe(true);
      await expect(testDatabase()).rejects.toThrow(/marked production; nothing has been done/); // with a registry that is open
    } finally {
      await admin.query(`alter database ${server.database} set aiwdb.environment = 'test'`);
      await admin.end();
    }
    await db.drop();
  });
});

describe("what was handed out", () => {
  test("is still recorded after a crash that comes at once", async () => {
    for (let round = 0; round < 3; round++) {
      const victim = new pg.Client(adminConfig(readServer(), "postgres"));
      victim.on("error", () => {});
      await victim.connect();
      const { rows } = await victim.query<{ pid: number }>("select pg_backend_pid() as pid");
      const db = await testDatabase();
      process.kill(rows[0]!.pid, "SIGKILL");
      const registry = await until(
        () => openRegistry(readServer()).catch(() => undefined),
        (opened) => opened !== undefined,
      );
      const { rows: ready } = await registry!.client.query(
        "select name from testdb.clone where name = $1 and (state = 'ready' or uses = 0)",
        [db.name],
      );
      expect(ready).toEqual([]);
      await registry!.close();
      await db.drop().catch(() => {});
      await closeTestDatabases();
    }
  });

  test("is swept by whoever takes when pool and supervisor are both killed", async () => {
    const script = `const { testDatabase } = await import(${JSON.stringify(LIBRARY)}); await testDatabase({ label: "left" }); process.stdout.write("taken"); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const serving = readFileSync(`/proc/${keeper()}/task/${keeper()}/children`, "utf8")
      .split(" ")
      .filter(Boolean)
      .map(Number);
    for (const pid of [keeper(), ...serving]) process.kill(pid, "SIGKILL");
    child.kill("SIGKILL");
    const db = await testDatabase();
    const registry = await openRegistry(readServer());
    await until(
      async () =>
        (await registry.client.query<{ name: string }>("select name from testdb.clone where label = 'left'")).rows,
      (left) => left.length === 0,
    );
    expect((await registry.client.query<{ kept: boolean }>("select testdb.is_held(3, 0) as kept")).rows).toEqual([
      { kept: false },
    ]);
    await db.drop();
    await registry.close();
    mustSucceed(await start(NAME));
  });
});

describe("the HTTP API", () => {
  const ask = (where: object): Promise<number | undefined> =>
    new Promise((resolve) => {
      const token = readFileSync(serverFiles(NAME).token, "utf8");
      const message = request(
        { ...where, path: "/v1/databases", headers: { authorization: `Bearer ${token}` } },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      );
      message.on("error", () => resolve(undefined));
      message.end();
    });

  test("a port that is taken is an error, and one asked for later is opened", async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
    const { port: taken } = squatter.address() as { port: number };
    const refused = await start(NAME, "--port", String(taken));
    squatter.close();
    expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining(`Port ${taken} is taken`)]);
    const opened = mustSucceed(await start(NAME, "--port", "0"));
    const port = Number(/http:\/\/127\.0\.0\.1:(\d+)/.exec(opened.stdout)?.[1]);
    expect(await ask({ host: "127.0.0.1", port })).toBe(200);
    expect((JSON.parse(mustSucceed(await start(NAME, "--json")).stdout) as { port: number }).port).toBe(port);
    const other = await start(NAME, "--port", String(taken));
    expect([other.exitCode, other.stderr]).toEqual([2, expect.stringContaining(`is on port ${port} already`)]);
  });

  test("goes on at the same port and socket when its process is killed, or an older one ends", async () => {
    const port = Number(readFileSync(serverFiles(NAME).port, "utf8"));
    const socket = () => statSync(serverFiles(NAME).socket).ino;
    const before = socket();
    const second = spawn(process.execPath, [MAIN, "testdb", "serve", "--name", NAME], { stdio: "ignore" });
    onTestFinished(() => void second.kill("SIGKILL"));
    await until(
      () => Promise.resolve(socket()),
      (now) => now !== before,
    );
    const serving = Number(readFileSync(`/proc/${keeper()}/task/${keeper()}/children`, "utf8").trim());
    process.kill(serving, "SIGTERM");
    await until(
      () => Promise.resolve(existsSync(`/proc/${serving}`)),
      (there) => !there,
    );
    expect(await ask({ socketPath: serverFiles(NAME).socket })).toBe(200);
    second.kill("SIGKILL");
    mustSucceed(await start(NAME, "--port", String(port)));
    await until(
      () => ask({ host: "127.0.0.1", port }),
      (status) => status === 200,
    );
    expect(await ask({ socketPath: serverFiles(NAME).socket })).toBe(200);
  });
});

describe("reap", () => {
  test("removes a local server and a state past their expiry, and spares what is not due, dev and what never expires", async () => {
    mustSucceed(await start(OTHER));
    const record = readLocalRecord(OTHER)!;
    const age = (hours: number, expiresAfterHours: number) =>
      writeFileSync(
        serverFiles(OTHER).local,
        JSON.stringify({
          ...record,
          createdAt: new Date(Date.now() - hours * 3_600_000).toISOString(),
          expiresAfterHours,
        }),
      );
    recordState("ci-due", 25, "24");
    recordState("ci-young", 23, "24");
    recordState("ci-never", 9_999, undefined);
    recordState("dev", 9_999, "1");
    writeFileSync(stateFile("ci-half")!, '{"checkpoint": {"latest"');
    age(25, 0);
    const reap = async (...args: string[]) => {
      const result = await aiwdb(["reap", "--json", ...args], NO_ENGINE);
      // Neither the engine nor a state that is cut off could be looked at.
      expect(result.exitCode).toBe(3);
      return {
        ...(JSON.parse(result.stdout) as { due: { stack: string }[]; removed: string[]; unknown: Problem[] }),
        stderr: result.stderr,
      };
    };
    const dry = await reap("--dry-run");
    expect([dry.due.map(({ stack }) => stack), dry.removed]).toEqual([["ci-due"], []]);
    expect(dry.stderr).toContain("ci-half: left alone");
    expect(dry.unknown.map(({ subject }) => subject)).toEqual(["Docker Engine", "ci-half"]);
    age(25, 24);
    const { removed } = await reap("--stack", OTHER);
    expect(removed).toEqual([OTHER]);
    expect([
      existsSync(record.folder),
      existsSync(clientCertificateFolder(OTHER)),
      isLocalServerRunning(OTHER),
    ]).toEqual([false, false, false]);
    expect([isLocalServerRunning(NAME), existsSync(stateFile("ci-young")!), existsSync(stateFile("dev")!)]).toEqual([
      true,
      true,
      true,
    ]);
  });

  /** As Pulumi records a stack that has its network; nothing of it is on any engine. */
  function recordState(stack: string, ageHours: number, expires: string | undefined): void {
    const created = new Date(Date.now() - ageHours * 3_600_000).toISOString();
    const labels = expires === undefined ? {} : { "ai-workflow-database.expires-after-hours": expires };
    const resources = [
      { urn: `urn:pulumi:${stack}::p::pulumi:pulumi:Stack::s`, type: "pulumi:pulumi:Stack" },
      {
        urn: `urn:pulumi:${stack}::p::aiwdb:index:Network::n`,
        type: "aiwdb:index:Network",
        created,
        inputs: { labels },
      },
    ];
    const file = stateFile(stack)!;
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(
      file,
      JSON.stringify({ checkpoint: { latest: { manifest: { time: new Date().toISOString() }, resources } } }),
    );
  }
});

describe("a start that was killed", () => {
  test("leaves nothing that stop does not find", async () => {
    mustSucceed(await stop(NAME));
    const child = spawn(process.execPath, [MAIN, "testdb", "start", "--engine", "local", "--name", NAME], {
      stdio: "ignore",
    });
    const folder = await until(
      () => Promise.resolve(readLocalRecord(NAME)?.folder),
      (recorded) => recorded !== undefined && existsSync(path.join(recorded, "data/postmaster.pid")),
    );
    child.kill("SIGKILL");
    await until(
      () => Promise.resolve(child.signalCode),
      (code) => code !== null,
    );
    expect(existsSync(serverFiles(NAME).description)).toBe(false);
    mustSucceed(await stop(NAME));
    expect([existsSync(folder!), existsSync(clientCertificateFolder(NAME)), processesWith(folder!)]).toEqual([
      false,
      false,
      [],
    ]);
    const again: Result = mustSucceed(await start(NAME));
    expect(again.stdout).toContain("started");
  });

  function processesWith(folder: string): number[] {
    return readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .map(Number)
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
        } catch {
          return false;
        }
      });
  }
});
