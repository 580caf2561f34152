import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import type { Output } from "../../base/output.ts";
import { serverFiles } from "../../testing/description/files.ts";
import { type TestServer, writeServer } from "../../testing/description/server.ts";
import { refuseRemoval } from "../../testing/pool/registry.ts";
import { stopServer } from "../../testing/server/life-cycle.ts";
import { isStackServerThere, stopStackServer } from "../../testing/server/stack-server.ts";

vi.mock("../../testing/server/stack-server.ts", () => ({ isStackServerThere: vi.fn(), stopStackServer: vi.fn() }));
vi.mock("../../testing/pool/registry.ts", async (original) => ({
  ...(await original<typeof import("../../testing/pool/registry.ts")>()),
  refuseRemoval: vi.fn(),
}));

const NAME = "ci-unread";
const silent = { progress: () => {} } as unknown as Output;

beforeEach(() => {
  const home = mkdtempSync(path.join(tmpdir(), "aiwdb-removal-"));
  vi.stubEnv("XDG_DATA_HOME", home);
  writeServer({ name: NAME, engine: "container", direct: { host: "127.0.0.1", port: 5 } } as TestServer);
  // The server is asked once: by the next look at the clock its time is over.
  let now = Date.now();
  const clock = vi.spyOn(Date, "now").mockImplementation(() => (now += 60_000));
  onTestFinished(() => {
    clock.mockRestore();
    vi.unstubAllEnvs();
    vi.mocked(stopStackServer).mockClear();
    rmSync(home, { recursive: true });
  });
});

const refuses = (message: string, code: string) =>
  vi.mocked(refuseRemoval).mockRejectedValue(Object.assign(new Error(message), { code }));

test.each([
  [
    "password authentication failed",
    "28P01",
    "If you know that it is none, end it yourself, `npx aiwdb down --stack ci-unread`, then again `npx aiwdb testdb stop --name ci-unread`.",
  ],
  [
    "certificate has expired",
    "CERT_HAS_EXPIRED",
    "Renew its certificates, `npx aiwdb up --stack ci-unread`, then again `npx aiwdb testdb stop --name ci-unread`.",
  ],
])('a container that says only "%s" is not removed, since its mark cannot be read', async (message, code, remedy) => {
  refuses(message, code);
  vi.mocked(isStackServerThere).mockResolvedValue(true);
  await expect(stopServer(NAME, silent)).rejects.toMatchObject({
    name: "StateError",
    message: expect.stringContaining(
      `The server for tests "${NAME}" runs and lets nobody read whether it is marked production; nothing has been removed.`,
    ),
    problems: [{ subject: "127.0.0.1:5", problem: message, remedy }],
  });
  expect(stopStackServer).not.toHaveBeenCalled();
  expect(existsSync(serverFiles(NAME).description)).toBe(true);
});

test("what is left of a container that is gone is removed, whatever answers at its port", async () => {
  refuses("password authentication failed", "28P01");
  vi.mocked(isStackServerThere).mockResolvedValue(false);
  await stopServer(NAME, silent);
  expect(stopStackServer).toHaveBeenCalledOnce();
  expect(existsSync(serverFiles(NAME).description)).toBe(false);
});

test("what is left of a process that is gone is removed, also where its certificates cannot be read", async () => {
  const sslRootCert = serverFiles(NAME).log;
  writeFileSync(sslRootCert, "no certificate");
  const roles = { postgres: { sslRootCert } };
  writeServer({ name: NAME, engine: "local", direct: { host: "127.0.0.1", port: 5 }, roles } as unknown as TestServer);
  refuses("no start line", "ERR_OSSL_PEM_NO_START_LINE");
  await stopServer(NAME, silent);
  expect(existsSync(serverFiles(NAME).description)).toBe(false);
});
