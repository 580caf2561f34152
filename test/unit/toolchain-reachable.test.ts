import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { probe, proxyFor } from "../../toolchain/reachable.ts";

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

let swallowed = 0;
beforeEach(() => {
  swallowed = 0;
});
const blackHole = () =>
  listen(
    createTcpServer((socket) => {
      swallowed += 1;
      socket.on("error", () => undefined).unref();
    }),
  );
const file = () => join(folder, "reachable.json");

test("counts any HTTP answer as reachable, also a refusal", async () => {
  const refusing = await listen(createServer((_request, response) => response.writeHead(401).end()));
  const hosts = { pulumi: refusing, plugins: refusing, images: "http://127.0.0.1:1/" };
  expect(await probe({ hosts, file: file(), env: {} })).toEqual({ pulumi: true, plugins: true, images: false });
});

/** Time-outs that end when this says so, and how long each was to be. */
function timeOuts(): { readonly asked: number[]; end(): void } {
  const asked: number[] = [];
  const over = new AbortController();
  const spy = vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
    asked.push(ms);
    return over.signal;
  });
  onTestFinished(() => spy.mockRestore());
  return { asked, end: () => over.abort(new DOMException("over", "TimeoutError")) };
}

test("costs one time-out in all, however many hosts swallow what is sent", async () => {
  const hosts = { pulumi: await blackHole(), plugins: await blackHole(), images: await blackHole() };
  const { asked, end } = timeOuts();
  const probed = probe({ hosts, timeoutMs: 300, file: file(), env: {} });
  // All of them are being asked before the first is given up.
  await vi.waitFor(() => expect(swallowed).toBe(3), { timeout: 50_000 });
  expect(asked).toEqual([300, 300, 300]);
  end();
  expect(await probed).toEqual({ pulumi: false, plugins: false, images: false });
});

test("gives up a host that swallows what is sent when its time is over", async () => {
  const hosts = { pulumi: await blackHole(), plugins: await blackHole(), images: await blackHole() };
  expect(await probe({ hosts, timeoutMs: 50, file: file(), env: {} })).toEqual({
    pulumi: false,
    plugins: false,
    images: false,
  });
});

test("asks again only after ten minutes", async () => {
  let asked = 0;
  const counting = await listen(createServer((_request, response) => response.end(String(asked++))));
  const hosts = { pulumi: counting, plugins: counting, images: counting };
  await probe({ hosts, file: file(), env: {} });
  await probe({ hosts, file: file(), env: {} });
  expect(asked).toBe(3);
  const answers = { pulumi: false, plugins: false, images: false };
  writeFileSync(file(), JSON.stringify({ time: Date.now() - 11 * 60_000, hosts: answers }));
  expect((await probe({ hosts, file: file(), env: {} })).pulumi).toBe(true);
  expect(asked).toBe(6);
});

test("asks again when the remembered answers can't be read", async () => {
  const host = await listen(createServer((_request, response) => response.end()));
  writeFileSync(file(), '{"time":');
  expect((await probe({ hosts: { pulumi: host, plugins: host, images: host }, file: file(), env: {} })).images).toBe(
    true,
  );
});

test("asks the proxy, where one is set, and believes what it says", async () => {
  const seen: string[] = [];
  const proxy = createServer();
  proxy.on("connect", (request, socket) => {
    seen.push(`${request.url} ${request.headers["proxy-authorization"]}`);
    socket.end(
      request.url?.startsWith("allowed")
        ? "HTTP/1.1 200 Connection established\r\n\r\n"
        : "HTTP/1.1 403 Forbidden\r\n\r\n",
    );
  });
  const address = (await listen(proxy)).replace("http://", "http://user:p%40ss@");
  const direct = await listen(createServer((_request, response) => response.end()));
  const hosts = { pulumi: "https://allowed.example/", plugins: "https://forbidden.example/", images: direct };
  const env = { HTTPS_PROXY: address, http_proxy: "http://127.0.0.1:1", NO_PROXY: "127.0.0.1" };
  expect(await probe({ hosts, file: file(), env })).toEqual({ pulumi: true, plugins: false, images: true });
  const basic = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;
  expect(seen.sort()).toEqual([`allowed.example:443 ${basic}`, `forbidden.example:443 ${basic}`]);
});

test("a proxy that swallows what is sent costs one time-out", async () => {
  const env = { HTTPS_PROXY: await blackHole() };
  const hosts = { pulumi: "https://a.example/", plugins: "https://b.example/", images: "https://c.example/" };
  const { asked, end } = timeOuts();
  const probed = probe({ hosts, timeoutMs: 300, file: file(), env });
  await vi.waitFor(() => expect(swallowed).toBe(3), { timeout: 50_000 });
  expect(asked).toEqual([300, 300, 300]);
  end();
  expect(await probed).toEqual({ pulumi: false, plugins: false, images: false });
});

test.each([
  [{}, undefined],
  [{ https_proxy: "proxy:3128" }, "http://proxy:3128/"],
  [{ HTTP_PROXY: "http://proxy:3128" }, undefined],
  [{ ALL_PROXY: "http://proxy:3128" }, "http://proxy:3128/"],
  [{ HTTPS_PROXY: "http://proxy:3128", no_proxy: "localhost, .example.com" }, undefined],
  [{ HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "*" }, undefined],
  [{ HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "ample.com" }, "http://proxy:3128/"],
])("with %o downloads from api.example.com go through %s", (env, proxy) => {
  expect(proxyFor(new URL("https://api.example.com/"), env)?.href).toBe(proxy);
});
