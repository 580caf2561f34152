import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import path from "node:path";
import pg from "pg";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { stackFolder } from "../../infra/settings/places.ts";
import { listDatabases } from "../../testing/databases/by-name.ts";
import { serveHttp } from "../../testing/http-api.ts";
import { LABEL_MAX } from "../../testing/databases/labels.ts";
import { boundPort, serverFiles } from "../../testing/description/files.ts";
import { testDatabase, type TestDatabaseOptions } from "../../testing/databases/test-database.ts";
import { httpServer, raw, subjects } from "../helpers/http-server.ts";
import { aiwdb, mustSucceed, until } from "../helpers/testdb.ts";

const NAME = `ci-th${process.pid}`;
const { call, folder, nothingHeld, take, token } = httpServer(NAME);

let port: number;
beforeAll(() => {
  port = boundPort(NAME)!;
});

describe("the HTTP API", () => {
  test("takes, lists, renews, keeps and drops", async () => {
    const taken = await call("POST", "/v1/databases", { label: "by http" });
    expect(taken).toMatchObject({
      status: 201,
      body: { name: expect.stringMatching(/^aiwdb_test_/), env: { PGUSER: "app_user" } },
    });
    const { name, url } = taken.body as { name: string; url: string };
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.end();
    expect((await call("GET", "/v1/databases")).body).toContainEqual(
      expect.objectContaining({ name, state: "taken", label: "by http" }),
    );
    expect((await call("POST", `/v1/databases/${name}/renew`)).status).toBe(204);
    expect((await call("POST", `/v1/databases/${name}/keep`)).status).toBe(204);
    expect((await call("DELETE", `/v1/databases/${name}`)).status).toBe(204);
    expect((await call("DELETE", `/v1/databases/${name}`)).status).toBe(404);
  });

  test("refuses a wrong token, other paths and requests it does not understand", async () => {
    expect((await call("GET", "/v1/databases", undefined, { headers: { authorization: "Bearer wrong" } })).status).toBe(
      401,
    );
    expect((await call("GET", "/v2/databases")).status).toBe(404);
    expect((await call("POST", "/v1/databases", "{")).status).toBe(400);
    expect((await call("POST", "/v1/databases", { colour: "red" })).status).toBe(400);
    expect((await call("POST", "/v1/databases", { pid: 2 ** 22 + 1 })).status).toBe(409);
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
