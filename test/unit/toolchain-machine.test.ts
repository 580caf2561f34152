import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type Docker from "dockerode";
import { afterEach, expect, test } from "vitest";
import { checkClock, checkDisk, checkEngineVersion, checkNode, checkPorts } from "../../toolchain/machine.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function takenPort(): Promise<number> {
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const need = (port: number, host = "127.0.0.1") => ({
  subject: "pgbouncerPort",
  host,
  port,
  container: "aiwdb-dev-pgbouncer",
});

/** An engine on which this container publishes the port. */
function engineWith(name: string, port: number): Docker {
  const containers = [{ Names: [`/${name}`], Ports: [{ PublicPort: port }] }];
  return { listContainers: async () => containers } as unknown as Docker;
}

test("finds a port that another program holds, and names the setting", async () => {
  const port = await takenPort();
  expect(await checkPorts([need(port)])).toEqual([
    {
      subject: "pgbouncerPort",
      problem: `127.0.0.1:${port} is taken by another program`,
      remedy: "Set pgbouncerPort to another one, or stop what holds it.",
    },
  ]);
});

test("names a foreign container that holds the port", async () => {
  const port = await takenPort();
  const [problem] = await checkPorts([need(port)], engineWith("somebodys-db", port));
  expect(problem?.problem).toBe(`127.0.0.1:${port} is taken by container somebodys-db`);
});

test("lets the stack's own container hold the port", async () => {
  const port = await takenPort();
  expect(await checkPorts([need(port)], engineWith("aiwdb-dev-pgbouncer", port))).toEqual([]);
});

test("accepts a free port", async () => {
  const port = await takenPort();
  await new Promise((resolve) => servers.splice(0)[0]?.close(resolve));
  expect(await checkPorts([need(port)])).toEqual([]);
});

test("refuses an address this machine does not have", async () => {
  const [problem] = await checkPorts([need(25_432, "203.0.113.1")]);
  expect(problem?.problem).toBe("203.0.113.1:25432 can't be listened on (EADDRNOTAVAIL)");
});

test("looks at the disk of a folder that is not made yet", async () => {
  const places = [{ subject: "cache folder", path: join(tmpdir(), "not/made/yet") }];
  expect(await checkDisk(places, 1)).toEqual([]);
  const [problem] = await checkDisk(places, Number.MAX_SAFE_INTEGER);
  expect(problem?.subject).toBe("cache folder");
  expect(problem?.problem).toMatch(/not\/made\/yet has [\d.]+ GiB free; at least [\d.]+ are needed/);
});

const now = Date.parse("2026-01-01T00:00:00Z");

test("accepts clocks half a minute apart, and no more", () => {
  expect(checkClock({ SystemTime: "2026-01-01T00:00:29Z" }, now)).toEqual([]);
  expect(checkClock({ SystemTime: "2026-01-01T00:02:00Z" }, now)[0]?.problem).toContain("120 s ahead of");
  expect(checkClock({ SystemTime: "2025-12-31T23:58:00Z" }, now)[0]?.problem).toContain("120 s behind");
});

test("refuses an engine that is too old or runs no Linux containers", () => {
  expect(checkEngineVersion({ ServerVersion: "20.10.24+dfsg1", OSType: "linux" })).toEqual([]);
  expect(checkEngineVersion({ ServerVersion: "19.03.15", OSType: "linux" })[0]?.problem).toBe(
    "version 19.03.15 is older than 20.10.0",
  );
  expect(checkEngineVersion({ ServerVersion: "28.0.0", OSType: "windows" })[0]?.problem).toBe(
    "runs windows containers",
  );
});

test("refuses a Node that is too old", () => {
  expect(checkNode("22.18.0")).toEqual([]);
  expect(checkNode("20.20.2")[0]?.problem).toBe("version 20.20.2 is older than 22.18.0");
});
