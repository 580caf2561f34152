import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { probe } from "../../toolchain/reachable.ts";

let folder: string;
const servers: Server[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aiwdb-reachable-"));
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function listen(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const blackHole = () => listen(createTcpServer((socket) => socket.on("error", () => undefined).unref()));
const file = () => join(folder, "reachable.json");

test("counts any HTTP answer as reachable, also a refusal", async () => {
  const refusing = await listen(createServer((_request, response) => response.writeHead(401).end()));
  const hosts = { pulumi: refusing, plugins: refusing, images: "http://127.0.0.1:1/" };
  expect(await probe({ hosts, file: file() })).toEqual({ pulumi: true, plugins: true, images: false });
});

test("costs one time-out in all, however many hosts swallow what is sent", async () => {
  const hosts = { pulumi: await blackHole(), plugins: await blackHole(), images: await blackHole() };
  const started = Date.now();
  expect(await probe({ hosts, timeoutMs: 300, file: file() })).toEqual({
    pulumi: false,
    plugins: false,
    images: false,
  });
  expect(Date.now() - started).toBeLessThan(600);
});

test("asks again only after ten minutes", async () => {
  let asked = 0;
  const counting = await listen(createServer((_request, response) => response.end(String(asked++))));
  const hosts = { pulumi: counting, plugins: counting, images: counting };
  await probe({ hosts, file: file() });
  await probe({ hosts, file: file() });
  expect(asked).toBe(3);
  const answers = { pulumi: false, plugins: false, images: false };
  writeFileSync(file(), JSON.stringify({ time: Date.now() - 11 * 60_000, hosts: answers }));
  expect((await probe({ hosts, file: file() })).pulumi).toBe(true);
  expect(asked).toBe(6);
});

test("asks again when the remembered answers can't be read", async () => {
  const host = await listen(createServer((_request, response) => response.end()));
  writeFileSync(file(), '{"time":');
  expect((await probe({ hosts: { pulumi: host, plugins: host, images: host }, file: file() })).images).toBe(true);
});
