import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findEngine } from "../../toolchain/docker-engine.ts";
import { askEngine, engineClient, engineEnv } from "../../toolchain/engine-client.ts";
import { isOurs } from "../../toolchain/private-engine.ts";
import { processStart } from "../../toolchain/lock.ts";

let folder: string;
const servers: { close(): unknown }[] = [];
const before = process.env["XDG_STATE_HOME"];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aiwdb-engine-"));
  // The private engine of this machine must not be found.
  process.env["XDG_STATE_HOME"] = join(folder, "state");
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  if (before === undefined) delete process.env["XDG_STATE_HOME"];
  else process.env["XDG_STATE_HOME"] = before;
  rmSync(folder, { recursive: true, force: true });
});

/** An engine that says it has this version. */
async function engine(name: string, version: string): Promise<string> {
  const path = join(folder, name);
  const server: Server = createServer((_request, response) => response.end(JSON.stringify({ Version: version })));
  server.keepAliveTimeout = 1;
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

/** Something that accepts connections and never says a word. */
async function silentEngine(name: string): Promise<string> {
  const path = join(folder, name);
  const server = createTcpServer((socket) => socket.on("error", () => undefined).unref());
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

function context(name: string, host: string): void {
  const id = createHash("sha256").update(name).digest("hex");
  mkdirSync(join(folder, "contexts/meta", id), { recursive: true });
  writeFileSync(
    join(folder, "contexts/meta", id, "meta.json"),
    JSON.stringify({ Name: name, Endpoints: { docker: { Host: host } } }),
  );
  writeFileSync(join(folder, "config.json"), JSON.stringify({ currentContext: name }));
}

const noChoice = () => ({ DOCKER_CONFIG: folder });

test("takes DOCKER_HOST before the context and the default sockets", async () => {
  const chosen = await engine("chosen.sock", "1.1");
  context("other", `unix://${await engine("context.sock", "2.2")}`);
  const found = await findEngine({
    env: { ...noChoice(), DOCKER_HOST: `unix://${chosen}` },
    sockets: [await engine("default.sock", "3.3")],
  });
  expect(found).toMatchObject({
    host: `unix://${chosen}`,
    version: "1.1",
    origin: "DOCKER_HOST",
    way: "found",
    isPrivate: false,
  });
});

test("takes the context in use before the default sockets", async () => {
  const path = await engine("context.sock", "2.2");
  context("other", `unix://${path}`);
  const found = await findEngine({ env: noChoice(), sockets: [await engine("default.sock", "3.3")] });
  expect(found).toMatchObject({ host: `unix://${path}`, origin: 'docker context "other"' });
});

test("takes the first default socket that answers", async () => {
  const second = await engine("rootless.sock", "3.3");
  const found = await findEngine({ env: noChoice(), sockets: [join(folder, "absent.sock"), second] });
  expect(found).toMatchObject({ host: `unix://${second}`, origin: "default socket" });
});

test("finds none where nothing listens", async () => {
  expect(await findEngine({ env: noChoice(), sockets: [join(folder, "absent.sock")] })).toBeUndefined();
});

test("does not pass over a DOCKER_HOST that nothing answers at", async () => {
  const options = {
    env: { DOCKER_HOST: `unix://${folder}/absent.sock` },
    sockets: [await engine("default.sock", "3.3")],
  };
  await expect(findEngine(options)).rejects.toThrow(
    /DOCKER_HOST .*absent\.sock\): nothing answers there\n.*unset DOCKER_HOST/,
  );
});

test("does not pass over a context that does not exist", async () => {
  writeFileSync(join(folder, "config.json"), JSON.stringify({ currentContext: "gone" }));
  await expect(findEngine({ env: noChoice(), sockets: [] })).rejects.toThrow(
    'docker context "gone": is selected but does not exist',
  );
});

test("gives up on an engine that never answers within the limit, and says so", async () => {
  const path = await silentEngine("silent.sock");
  const started = Date.now();
  await expect(findEngine({ env: noChoice(), sockets: [path], timeoutMs: 200 })).rejects.toThrow(
    `${path}: accepts connections but did not answer within 0.2 s`,
  );
  expect(Date.now() - started).toBeLessThan(700);
});

async function ask(name: string): Promise<string> {
  return (await askEngine({ host: `unix://${folder}/${name}` }, 200)).state;
}

test("tells silence, absence and nonsense apart", async () => {
  const broken = createServer((_request, response) => response.writeHead(500).end("no"));
  servers.push(broken);
  await new Promise<void>((resolve) => broken.listen(join(folder, "broken.sock"), resolve));
  await silentEngine("silent.sock");
  expect(await ask("absent.sock")).toBe("absent");
  expect(await ask("silent.sock")).toBe("silent");
  expect(await ask("broken.sock")).toBe("failed");
});

test("reaches the engine it was given, whatever DOCKER_HOST says", async () => {
  const path = await engine("given.sock", "4.4");
  const host = process.env["DOCKER_HOST"];
  process.env["DOCKER_HOST"] = "tcp://203.0.113.1:2375";
  try {
    expect(await engineClient(`unix://${path}`).version()).toMatchObject({ Version: "4.4" });
  } finally {
    if (host === undefined) delete process.env["DOCKER_HOST"];
    else process.env["DOCKER_HOST"] = host;
  }
});

test("refuses an address of an unknown kind", () => {
  expect(() => engineClient("ftp://host")).toThrow("ftp://host: is of a kind that is not supported");
});

test("hands a context's certificates on to child programs", () => {
  expect(engineEnv({ host: "tcp://h:2376", certPath: "/certs" })).toEqual({
    DOCKER_HOST: "tcp://h:2376",
    DOCKER_CERT_PATH: "/certs",
    DOCKER_TLS_VERIFY: "1",
  });
});

test("does not take a process for the private engine that merely has its number", () => {
  const record = { host: "unix:///x", pid: process.pid, dataRoot: "/data", runtime: "/run/x" };
  expect(isOurs({ ...record, start: processStart(process.pid) ?? "" })).toBe(false);
  expect(isOurs({ ...record, start: "earlier" })).toBe(false);
});
