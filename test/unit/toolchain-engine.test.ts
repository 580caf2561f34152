import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createServer as createTcpServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { ensureEngine, findEngine, startObstacle, type Starter } from "../../toolchain/engine/find.ts";
import {
  askEngine,
  askWithin,
  ENGINE_ANSWER_MS,
  engineClient,
  engineEnv,
  isLocalEngine,
} from "../../toolchain/engine/client.ts";
import { checkMachine } from "../../toolchain/machine.ts";
import { isOurs } from "../../toolchain/engine/private.ts";
import { processStart } from "../../base/process-identity.ts";

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

/** An engine that answers when it is told to. */
async function lateEngine(name: string): Promise<{ path: string; asked: Promise<void>; answer(): void }> {
  let answer = () => {};
  const path = join(folder, name);
  const asked = new Promise<void>((resolve, reject) => {
    const server: Server = createServer((_request, response) => {
      answer = () => void response.end(JSON.stringify({ Version: "5.5" }));
      resolve();
    });
    server.on("error", reject);
    server.keepAliveTimeout = 1;
    servers.push(server);
    server.listen(path);
  });
  return { path, asked, answer: () => answer() };
}

/** An engine that tells its version, and nothing else ever. */
async function hangingEngine(name: string): Promise<string> {
  const path = join(folder, name);
  const server: Server = createServer((request, response) => {
    if (request.url?.endsWith("/version")) response.end(JSON.stringify({ Version: "5.5" }));
  });
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
  const limits = vi.spyOn(AbortSignal, "timeout");
  onTestFinished(() => limits.mockRestore());
  await expect(findEngine({ env: noChoice(), sockets: [path], timeoutMs: 200 })).rejects.toThrow(
    `${path}: accepts connections but did not answer within 0.2 s`,
  );
  // It never answers, so that what ended the wait is the limit, which was set once and for all.
  expect(limits.mock.calls).toEqual([[200]]);
});

test("waits for an engine that answers late", async () => {
  const late = await lateEngine("late.sock");
  const events: string[] = [];
  const found = findEngine({ env: noChoice(), sockets: [late.path], timeoutMs: 60_000 }).finally(() =>
    events.push("found"),
  );
  await late.asked;
  // Another one is found, and another is given up, while this one is waited for.
  await findEngine({ env: noChoice(), sockets: [await engine("quick.sock", "1.1")] });
  await expect(
    findEngine({ env: noChoice(), sockets: [await silentEngine("silent.sock")], timeoutMs: 200 }),
  ).rejects.toThrow("did not answer");
  events.push("answers");
  late.answer();
  expect(await found).toMatchObject({ host: `unix://${late.path}`, version: "5.5" });
  expect(events).toEqual(["answers", "found"]);
});

test("waits seconds for an engine, not for ever, when nothing else is said", () => {
  expect(ENGINE_ANSWER_MS).toBeGreaterThanOrEqual(2_000);
  expect(ENGINE_ANSWER_MS).toBeLessThanOrEqual(15_000);
});

test("does not hang with an engine that tells its version and then nothing more", async () => {
  const docker = engineClient(`unix://${await hangingEngine("hangs.sock")}`);
  const message = /tells its version, but did not answer a question within 0\.2 s\n.*Restart it/;
  await expect(checkMachine({ docker, timeoutMs: 200 })).rejects.toThrow(message);
  await expect(askWithin((options) => docker.listContainers(options), 200)).rejects.toThrow(message);
});

test("an error that the engine's library throws at once is told, and the limit raises no other one later", async () => {
  const unheard = vi.fn();
  process.on("unhandledRejection", unheard);
  onTestFinished(() => void process.off("unhandledRejection", unheard));
  const question = (): Promise<never> => {
    throw new Error("at once");
  };
  await expect(askWithin(question, 10)).rejects.toThrow("at once");
  // A later limit is reached only after the one above.
  await new Promise((resolve) => AbortSignal.timeout(50).addEventListener("abort", resolve));
  await new Promise(setImmediate);
  expect(unheard).not.toHaveBeenCalled();
});

describe("where no engine answers", () => {
  const root: Starter = { platform: "linux", uid: 0, hasDockerd: () => false, canInstall: () => false };

  test("an engine that is installed, or can be, is started by root", () => {
    expect(startObstacle({ ...root, hasDockerd: () => true })).toBeUndefined();
    expect(startObstacle({ ...root, canInstall: () => true })).toBeUndefined();
  });

  test.each<[string, Partial<Starter>, RegExp, RegExp]>([
    ["an ordinary user", { uid: 1000, hasDockerd: () => true }, /only root can start one/, /Install Docker Engine/],
    ["root on a system that is not Debian's", {}, /only Debian's and Ubuntu's packages/, /Install Docker Engine/],
    ["macOS", { platform: "darwin", uid: 501 }, /none is running$/, /Start Docker Desktop/],
  ])("%s is told what to do, in one message, and nothing is started", async (_who, machine, problem, remedy) => {
    const starter = { ...root, ...machine };
    expect(startObstacle(starter)).toMatchObject({
      subject: "Docker Engine",
      problem: expect.stringMatching(problem),
      remedy: expect.stringMatching(remedy),
    });
    const reports: string[] = [];
    const ensured = ensureEngine((line) => reports.push(line), {
      env: noChoice(),
      sockets: [join(folder, "absent.sock")],
      starter,
    });
    await expect(ensured).rejects.toThrow(/^No Docker Engine can be used\.\n- Docker Engine: none is running/);
    expect(reports).toEqual([]);
  });
});

test.each([
  ["unix:///var/run/docker.sock", true],
  ["tcp://127.0.0.1:2375", true],
  ["tcp://localhost:2376", true],
  ["tcp://[::1]:2375", true],
  ["localhost:2375", true],
  ["tcp://docker:2375", false],
  ["tcp://192.0.2.1:2376", false],
  ["ssh://user@server", false],
])("%s is an engine of this machine: %s", (host, isLocal) => {
  expect(isLocalEngine(host)).toBe(isLocal);
});

test("a client loads ssh for an address that needs it, and not before", async () => {
  const script = (host: string) => `
    import { createRequire } from "node:module";
    import { engineClient } from "./toolchain/engine/client.ts";
    const docker = engineClient("${host}");
    await docker.ping().catch(() => {});
    const { cache } = createRequire(import.meta.url);
    console.log(Object.keys(cache).some((file) => file.includes("/ssh2/")));
  `;
  const loadsSsh = (host: string) =>
    execFileSync(process.execPath, ["--no-deprecation", "--input-type=module", "--eval", script(host)], {
      encoding: "utf8",
    }).trim();
  expect(loadsSsh(`unix://${folder}/absent.sock`)).toBe("false");
  expect(loadsSsh("ssh://user@127.0.0.1:1")).toBe("true");
});

test("refuses an engine on another machine without asking it", async () => {
  const attempts = vi.spyOn(Socket.prototype, "connect");
  onTestFinished(() => attempts.mockRestore());
  context("far", "ssh://user@203.0.113.1");
  await expect(findEngine({ env: noChoice(), sockets: [] })).rejects.toThrow(
    /docker context "far" \(ssh:\/\/user@203\.0\.113\.1\): is on another machine[^]*docker context use default/,
  );
  await expect(findEngine({ env: { DOCKER_HOST: "tcp://203.0.113.1:2375" } })).rejects.toThrow(/unset DOCKER_HOST/);
  // Nobody waits for a machine that may not answer: neither was asked.
  expect(attempts).not.toHaveBeenCalled();
});

async function ask(name: string, timeoutMs = 50_000): Promise<string> {
  return (await askEngine({ host: `unix://${folder}/${name}` }, timeoutMs)).state;
}

test("tells silence, absence and nonsense apart", async () => {
  const broken = createServer((_request, response) => response.writeHead(500).end("no"));
  servers.push(broken);
  await new Promise<void>((resolve) => broken.listen(join(folder, "broken.sock"), resolve));
  await silentEngine("silent.sock");
  expect(await ask("absent.sock")).toBe("absent");
  expect(await ask("silent.sock", 200)).toBe("silent");
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
