import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { stackFolder } from "../../infra/settings/places.ts";
import { listDatabases } from "../../testing/databases/by-name.ts";
import { serveHttp } from "../../testing/http-api.ts";
import { LABEL_MAX } from "../../testing/databases/labels.ts";
import { SEED_MAX_BYTES } from "../../testing/pool/seed-file.ts";
import { serverFiles } from "../../testing/description/files.ts";
import { SERVER_VARIABLE } from "../../testing/description/server.ts";
import { closeTestDatabases, testDatabase, type TestDatabaseOptions } from "../../testing/databases/test-database.ts";
import { aiwdb, mustSucceed, ownHome, until } from "./testdb-support.ts";

const NAME = `ci-th${process.pid}`;

let home: { remove(): void };
let folder: string;
let port: number;

beforeAll(async () => {
  home = ownHome();
  folder = mkdtempSync(path.join(tmpdir(), "aiwdb-seeds-"));
  process.env[SERVER_VARIABLE] = NAME;
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "local", "--port", "0"]));
  port = Number(readFileSync(serverFiles(NAME).port, "utf8"));
});

afterAll(async () => {
  await closeTestDatabases();
  mustSucceed(await aiwdb(["testdb", "stop"]));
  rmSync(folder, { recursive: true, force: true });
  home.remove();
});

interface Answer {
  readonly status: number;
  readonly body: any;
  readonly headers: NodeJS.Dict<string | string[]>;
}

const token = () => readFileSync(serverFiles(NAME).token, "utf8");

function call(
  method: string,
  where: string,
  body?: unknown,
  { headers = {}, tcp = false }: { headers?: Record<string, string>; tcp?: boolean } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const message = request(
      {
        ...(tcp ? { host: "127.0.0.1", port } : { socketPath: serverFiles(NAME).socket }),
        method,
        path: where,
        headers: { authorization: `Bearer ${token()}`, ...headers },
      },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            body: text === "" ? undefined : JSON.parse(text),
            headers: response.headers,
          }),
        );
      },
    );
    message.on("error", reject);
    message.end(body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  });
}

/** What a server says to bytes; it is done when it ends the connection. */
function raw(bytes: string | Buffer, to: { path: string } | { host: string; port: number }): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(to as never, () => socket.write(bytes));
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => {}); // it may be cut while this still writes
    socket.on("close", () => resolve(text));
  });
}

const take = (body: unknown) => call("POST", "/v1/databases", body);
const subjects = ({ body }: Answer) => (body.error.problems as { subject: string }[]).map(({ subject }) => subject);
/** Nobody has one: a refused request leaves nothing behind. */
const nothingHeld = () =>
  until(
    () => listDatabases(NAME),
    (databases) => databases.every(({ state }) => state === "ready" || state === "creating"),
  );

describe("a seed", () => {
  const inFolder = (name: string, content: string | Buffer): string => {
    writeFileSync(path.join(folder, name), content);
    return path.join(folder, name);
  };
  const made: Readonly<Record<string, () => string>> = {
    "a device without end": () => "/dev/zero",
    "another one": () => "/dev/urandom",
    "a device that waits": () => "/dev/tty",
    "a named pipe": () => {
      execFileSync("mkfifo", [path.join(folder, "pipe")]);
      return path.join(folder, "pipe");
    },
    "a directory": () => folder,
    "a socket": () => serverFiles(NAME).socket,
    "a symbolic link to a device": () => {
      symlinkSync("/dev/zero", path.join(folder, "link"));
      return path.join(folder, "link");
    },
    "a symbolic link to itself": () => {
      symlinkSync(path.join(folder, "loop"), path.join(folder, "loop"));
      return path.join(folder, "loop");
    },
    "a file that is not there": () => path.join(folder, "nowhere.sql"),
    "a file that is too large": () => {
      const handle = openSync(path.join(folder, "huge.sql"), "w");
      ftruncateSync(handle, SEED_MAX_BYTES + 1);
      closeSync(handle);
      return path.join(folder, "huge.sql");
    },
    "a file of /proc": () => "/proc/self/status",
    "the memory of the machine": () => "/proc/kcore",
    "the kernel's messages": () => "/proc/kmsg",
    "bytes that are no text": () => inFolder("binary.sql", Buffer.from([0x73, 0xff, 0xfe])),
    "a text with NUL": () => inFolder("nul.sql", "select 1;\0 select 2"),
    "a text of UTF-16": () => inFolder("utf16.sql", Buffer.from("select 1", "utf16le")),
  };

  test.each(Object.entries(made))("that is %s is refused, and others are served", async (_what, make) => {
    const file = make();
    const refused = await take({ seed: file });
    expect([refused.status, refused.body.error.message]).toEqual([
      409,
      expect.stringMatching(/^The seed can not be read\.\n- /),
    ]);
    expect(subjects(refused)).toEqual([file]);
    expect((await call("GET", "/v1/databases")).status).toBe(200);
    await expect(testDatabase({ seed: file })).rejects.toThrow("The seed can not be read.");
  });

  test("is refused in the same words on the command line, where a path may be relative", async () => {
    for (const seed of ["/dev/zero", "nowhere.sql"]) {
      const refused = await aiwdb(["testdb", "create", "--seed", seed]);
      expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining("The seed can not be read.")]);
    }
  });

  test("that its reader may not open is refused", async () => {
    const file = inFolder("secret.sql", "select 1");
    chmodSync(file, 0o000);
    // Whoever runs as root may open it all the same.
    const { status } = await take({ seed: file });
    expect(status).toBe(process.getuid?.() === 0 ? 201 : 409);
    chownSync(file, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
    chmodSync(file, 0o600);
    for (const { name, state } of await listDatabases(NAME))
      if (state === "taken") await call("DELETE", `/v1/databases/${name}`);
  });

  test("with a path that the server would look for in its own folder is refused, and with NUL", async () => {
    for (const seed of ["seed.sql", "../seed.sql", "./seed.sql", ""]) {
      const refused = await take({ seed });
      expect([refused.status, subjects(refused)]).toEqual([400, ["seed"]]);
    }
    expect((await take({ seed: "/tmp/a\0b" })).status).toBe(400);
    await expect(testDatabase({ seed: "/tmp/a\0b" })).rejects.toThrow("The seed can not be read.");
  });

  test("that is a file, or a link to one, or empty, is run", async () => {
    const file = inFolder(
      "seed.sql",
      "insert into users (username, email, hashed_password) values ('änne', 'anne@example.com', 'x')",
    );
    symlinkSync(file, path.join(folder, "link.sql"));
    for (const seed of [file, path.join(folder, "link.sql"), inFolder("empty.sql", "")]) {
      const taken = await take({ seed });
      expect(taken.status).toBe(201);
      expect((await call("DELETE", `/v1/databases/${taken.body.name}`)).status).toBe(204);
    }
    await nothingHeld();
  });
});

describe("a request", () => {
  const odd = ["a\0b", "a\ud800b", "a\udc00", "a\nb", "a\u001b[2Jb", "a\u007fb", "a\u009bb", "a\u2028b", "a\u202eb"];

  test.each([
    ...odd.map((label) => [{ label }, ["label"]] as const),
    [{ label: "x".repeat(LABEL_MAX + 1) }, ["label"]],
    [{ label: 7 }, ["label"]],
    [{ label: null }, ["label"]],
    [{ label: ["a"] }, ["label"]],
    ...odd.map((run) => [{ run }, ["run"]] as const),
    [{ run: "x".repeat(65) }, ["run"]],
    [{ role: "app_user\0" }, ["role"]],
    [{ role: "__proto__" }, ["role"]],
    [{ role: "root" }, ["role"]],
    [{ mode: "session" }, ["mode"]],
    [{ phase: 5 }, ["phase"]],
    [{ phase: "4" }, ["phase"]],
    [{ owner: "yes" }, ["owner"]],
    [{ pid: 0 }, ["pid"]],
    [{ pid: 1.5 }, ["pid"]],
    [{ pid: "1" }, ["pid"]],
    [{ ttlSec: 86_401 }, ["ttlSec"]],
    [{ ttlSec: -1 }, ["ttlSec"]],
    [{ seed: 1 }, ["seed"]],
    [{ migrationsFolder: "/dev" }, ["migrationsFolder"]],
    [{ server: "another" }, ["server"]],
    ['{"__proto__": {"label": "x"}}', ["__proto__"]],
    ["[]", ["body"]],
    ["null", ["body"]],
    ['"text"', ["body"]],
    ["7", ["body"]],
    ["{", ["body"]],
    [`${"[".repeat(30_000)}${"]".repeat(30_000)}`, ["body"]],
    [`{"label": ${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}`, ["label"]],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), ["body"]],
    [
      { label: "a\0b", run: "c\nd", role: "nobody", seed: "e", ttlSec: 0, colour: 1, shape: 2 },
      ["label", "run", "role", "seed", "ttlSec", "colour", "shape"],
    ],
  ] as const)("with %j is refused with everything that is wrong in it", async (body, wrong) => {
    const refused = await take(body);
    expect([refused.status, subjects(refused)]).toEqual([400, wrong]);
    for (const subject of wrong) expect(refused.body.error.message).toContain(`\n- ${subject}: `);
  });

  test("may name what people write: as many characters as another language counts", async () => {
    const label = "🐘".repeat(LABEL_MAX - 9) + " Prüfung↯";
    const taken = await take({ label });
    expect(taken.status).toBe(201);
    expect((await listDatabases(NAME)).find(({ name }) => name === taken.body.name)?.label).toBe(label);
    await call("DELETE", `/v1/databases/${taken.body.name}`);
  });

  test("whose text arrives in two halves of a character is understood", async () => {
    const label = "ä";
    const body = Buffer.from(JSON.stringify({ label, ttlSec: 60 }));
    const cut = body.indexOf(Buffer.from(label)) + 1;
    const taken = await new Promise<string>((resolve) => {
      let text = "";
      const socket = connect(serverFiles(NAME).socket, () => {
        socket.write(
          `POST /v1/databases HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token()}\r\nContent-Length: ${body.length}\r\n\r\n`,
        );
        socket.write(body.subarray(0, cut), () => setImmediate(() => socket.write(body.subarray(cut))));
      });
      socket.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
      socket.on("close", () => resolve(text));
    });
    expect(taken).toMatch(/^HTTP\/1\.1 201 /);
    const held = (await listDatabases(NAME)).filter(({ state }) => state === "taken");
    expect(held.map((database) => database.label)).toEqual([label]);
    for (const { name } of held) await call("DELETE", `/v1/databases/${name}`);
  });

  test.each([
    ["PUT", "/v1/databases", 405, "GET, POST"],
    ["DELETE", "/v1/databases", 405, "GET, POST"],
    ["GET", "/v1/databases/aiwdb_test_0", 405, "DELETE"],
    ["GET", "/v1/databases/aiwdb_test_0/renew", 405, "POST"],
    ["DELETE", "/v1/databases/aiwdb_test_0/keep", 405, "POST"],
    ["GET", "/v1/databases/aiwdb_test_0/drop", 404, undefined],
    ["GET", "/v1/databases/", 404, undefined],
    ["GET", "//", 404, undefined],
    ["GET", "//[", 404, undefined],
    ["GET", "*", 404, undefined],
    ["GET", "http://[/v1/databases", 404, undefined],
    ["DELETE", "/v1/databases/%00", 404, undefined],
    ["DELETE", "/v1/databases/%ff%fe", 404, undefined],
    ["DELETE", "/v1/databases/postgres", 404, undefined],
    ["DELETE", "/v1/databases/aiwdb_testdb", 404, undefined],
    ["DELETE", "/v1/databases/'; drop table testdb.clone; --".replaceAll(" ", "%20"), 404, undefined],
    ["POST", `/v1/databases/${"x".repeat(8_000)}/renew`, 404, undefined],
  ])("%s %s is answered with %s", async (method, where, status, allow) => {
    const answer = await call(method, where);
    expect([answer.status, answer.headers.allow]).toEqual([status, allow]);
    expect(answer.body.error.message).not.toBe("");
  });

  test("that has no end is cut off after 64 KiB, whether it says its length or not", async () => {
    const start = (how: string) =>
      `POST /v1/databases HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token()}\r\n${how}\r\n\r\n`;
    const to = { path: serverFiles(NAME).socket };
    expect(await raw(`${start("Content-Length: 100000000000")}${"x".repeat(70_000)}`, to)).toMatch(/^HTTP\/1\.1 413 /);
    expect(
      await raw(`${start("Transfer-Encoding: chunked")}${`fff\r\n${"x".repeat(0xfff)}\r\n`.repeat(20)}`, to),
    ).toMatch(/^HTTP\/1\.1 413 /);
    // Without the token nothing of it is read.
    const foreign = start("Content-Length: 100000000000").replace(token(), "wrong");
    expect(await raw(`${foreign}${"x".repeat(70_000)}`, to)).toMatch(/^HTTP\/1\.1 401 [^]*connection: close/i);
  });

  test("whose sender has hung up leaves no database", async () => {
    const seed = path.join(folder, "waits.sql");
    writeFileSync(
      seed,
      `do $$ begin
         while not exists (select from pg_stat_activity where application_name = 'go on') loop
           perform pg_sleep(0.02), pg_stat_clear_snapshot();
         end loop;
       end $$`,
    );
    const body = JSON.stringify({ seed, label: "hung up", ttlSec: 86_400 });
    const sender = connect(serverFiles(NAME).socket, () =>
      sender.write(
        `POST /v1/databases HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token()}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      ),
    );
    const db = await testDatabase({ role: "postgres", connect: true });
    const seeding = async () =>
      (
        await db.client!.query(
          "select from pg_stat_activity where query like 'do $$%go on%' and pid <> pg_backend_pid()",
        )
      ).rowCount;
    await until(seeding, (count) => count === 1);
    sender.destroy();
    await db.client!.query("set application_name = 'go on'");
    await until(seeding, (count) => count === 0);
    await db.drop();
    // Its template is there, and of the database that was made of it for nobody nothing is left.
    expect((await take({ seed, ttlSec: 60 })).status).toBe(201);
    await until(
      () => listDatabases(NAME),
      (databases) =>
        databases.filter(({ state }) => state === "taken").length === 1 &&
        databases.every(({ label }) => label !== "hung up"),
    );
    for (const { name, state } of await listDatabases(NAME))
      if (state === "taken") await call("DELETE", `/v1/databases/${name}`);
    await nothingHeld();
  });
});

describe("who may ask", () => {
  test("a web page is not served, under whatever name it leads to this machine", async () => {
    const tcp = true;
    expect((await call("GET", "/v1/databases", undefined, { tcp })).status).toBe(200);
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "localhost", `[::1]:${port}`])
      expect((await call("GET", "/v1/databases", undefined, { tcp, headers: { host } })).status).toBe(200);
    for (const host of [
      "evil.example",
      `evil.example:${port}`,
      "127.0.0.1.evil.example",
      "localhost.evil.example",
      "127.0.0.1@evil.example",
    ]) {
      const refused = await call("GET", "/v1/databases", undefined, { tcp, headers: { host } });
      expect([host, refused.status]).toEqual([host, 403]);
      expect(JSON.stringify(refused.body)).not.toContain(stackFolder(NAME)); // where the token lies is nothing for it
    }
    for (const origin of ["https://evil.example", `http://127.0.0.1:${port}`, "null"])
      for (const where of [{ tcp }, {}])
        expect((await call("GET", "/v1/databases", undefined, { ...where, headers: { origin } })).status).toBe(403);
  });

  test("nobody without the token, whatever the spelling", async () => {
    for (const authorization of [
      "",
      "Bearer",
      "Bearer ",
      `bearer ${token()}`,
      `Basic ${token()}`,
      `Bearer ${token()} `.replace(/ $/, "x"),
      `Bearer ${token().slice(1)}`,
    ])
      expect([
        authorization,
        (await call("GET", "/v1/databases", undefined, { headers: { authorization } })).status,
      ]).toEqual([authorization, 401]);
  });

  test("one who sends slowly, or connects and says nothing, is cut off and keeps nobody out", async () => {
    const own = `ci-tl${process.pid}`;
    const at = path.dirname(serverFiles(own).socket);
    execFileSync("mkdir", ["-p", at]);
    const lines: string[] = [];
    const api = await serveHttp({
      name: own,
      port: 0,
      report: (line) => lines.push(line),
      limits: { headersTimeout: 100, requestTimeout: 200, connectionsCheckingInterval: 20 },
    });
    onTestFinished(async () => {
      await api.close();
      rmSync(at, { recursive: true });
    });
    const bound = await until(
      async () => (existsSync(serverFiles(own).port) ? Number(readFileSync(serverFiles(own).port, "utf8")) : 0),
      (number) => number > 0,
    );
    const key = readFileSync(serverFiles(own).token, "utf8");
    for (const to of [{ path: serverFiles(own).socket }, { host: "127.0.0.1", port: bound }]) {
      expect(await raw("", to)).toMatch(/^(HTTP\/1\.1 408 |$)/);
      expect(await raw("GET /v1/databases HT", to)).toMatch(/^HTTP\/1\.1 408 /);
      expect(
        await raw(
          `POST /v1/databases HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${key}\r\nContent-Length: 9\r\n\r\n{`,
          to,
        ),
      ).toMatch(/^HTTP\/1\.1 4/);
    }
    expect(lines.filter((line) => /failed/.test(line))).toEqual([]);
  });

  test("a crowd at the port keeps nobody from the socket", async () => {
    const sockets: Socket[] = [];
    onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
    let cut = 0;
    for (let count = 0; count < 600; count++) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.on("close", () => (cut += 1));
      sockets.push(socket);
    }
    await until(
      async () => cut,
      (count) => count > 0,
    );
    expect((await call("GET", "/v1/databases")).status).toBe(200);
  });
});

describe("a test's own name", () => {
  const odd = 'reads "a\0b", \ud800 and \u001b[31mred\nlines' + "x".repeat(1_000);
  const shown = 'reads "a\ufffdb", \ufffd and \ufffd[31mred\ufffdlines';

  test("never keeps it from its database, whatever is in it", async () => {
    const db = await testDatabase({ label: odd });
    const label = async () => (await listDatabases(NAME)).find(({ name }) => name === db.name)?.label ?? "";
    expect(await label()).toMatch(new RegExp(`^${shown.replaceAll(/[[\]]/g, "\\$&")}x+…$`));
    expect([...(await label())]).toHaveLength(LABEL_MAX);
    await db.keep(`failed: ${odd}`);
    expect(await label()).toMatch(/^failed: reads "a\ufffdb"/);
    const listed = mustSucceed(await aiwdb(["testdb", "list"])).stdout;
    expect(listed).toContain("failed: reads");
    expect(listed).not.toContain("\u001b");
    mustSucceed(await aiwdb(["testdb", "drop", db.name]));
  });

  test.each([{ role: "root" }, { role: "app_user\0" }, { role: "__proto__" }, { mode: "session" }, { mode: "name" }])(
    "an option there is not is an error in the user's terms: %j",
    async (options) => {
      await expect(testDatabase(options as TestDatabaseOptions)).rejects.toThrow(/^There is no such (role|mode)/);
    },
  );
});

test("a seed that does not end keeps nobody from stopping the server", async () => {
  const seed = path.join(folder, "endless.sql");
  writeFileSync(seed, "select pg_sleep(86400)");
  take({ seed }).catch(() => {}); // it is cut off
  const db = await testDatabase({ role: "postgres", connect: true });
  await until(
    async () =>
      (await db.client!.query("select from pg_stat_activity where query like 'select pg_sleep(86400)%'")).rowCount,
    (count) => count === 1,
  );
  const stopped = await aiwdb(["testdb", "stop"]);
  expect([stopped.exitCode, stopped.stderr]).toEqual([0, ""]);
  await closeTestDatabases();
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "local"]));
});
