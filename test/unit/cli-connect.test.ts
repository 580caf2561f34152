import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { AddressInfo } from "node:net";
import net from "node:net";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ROLES } from "../../database/access/roles.ts";
import { asOwner } from "../../stack/connect.ts";
import { createOutput } from "../../base/output.ts";
import { messageOf, StateError } from "../../base/errors.ts";

let port = 0;
const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-connect-"));
const certificate = path.join(folder, "certificate.pem");

vi.mock(import("../../toolchain/set-up.ts"), () => ({ setUp: async () => ({}) as never }));
vi.mock(import("../../stack/known-stacks.ts"), () => ({ requireStack: () => {}, knownStacks: () => [] }));
vi.mock(import("../../stack/session.ts"), async (original) => ({
  ...(await original()),
  openSession: () => ({}) as never,
  readOutputs: async () =>
    ({
      connections: {
        direct: { host: "127.0.0.1", port, database: "db" },
        certificates: { [ROLES.owner]: { sslRootCert: certificate, sslCert: certificate, sslKey: certificate } },
      },
      passwords: { [ROLES.owner]: "s3cret" },
    }) as never,
}));

beforeAll(() => writeFileSync(certificate, ""));
afterAll(() => rmSync(folder, { recursive: true }));

const connecting = () => asOwner({ stack: "qa" }, createOutput({ json: false }), async () => "in");

/** Runs work while something listens that answers the first message by a text. */
async function withServer(answer: string, work: () => Promise<void>): Promise<void> {
  const server = net.createServer((socket) => socket.once("data", () => socket.end(answer)).on("error", () => {}));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  port = (server.address() as AddressInfo).port;
  await work();
  server.close();
}

test("where nothing listens, one message names the stack, the role, the address and what to do", async () => {
  await withServer("", async () => {}); // so that the port is free
  await expect(connecting()).rejects.toThrow(StateError);
  await expect(connecting()).rejects.toThrow(
    `The database of stack "qa" can't be reached:\n- ai_workflow_owner at 127.0.0.1:${port}: connect ECONNREFUSED 127.0.0.1:${port}\n` +
      "  `aiwdb status --stack qa` says more; `aiwdb up --stack qa` puts right what it can.",
  );
});

test("a server without TLS, and a certificate that is gone, are told the same way", async () => {
  await withServer("N", async () => {
    await expect(connecting()).rejects.toThrow(
      /ai_workflow_owner at .*: The server does not support SSL connections\n/,
    );
  });
  rmSync(certificate);
  await expect(connecting()).rejects.toThrow(`no such file or directory, open '${certificate}'\n`);
  await expect(connecting()).rejects.toThrow(StateError);
});

test("a host whose addresses all refuse is told by each of them", () => {
  const refused = [new Error("connect ECONNREFUSED ::1:1"), new Error("connect ECONNREFUSED 127.0.0.1:1")];
  expect(messageOf(new AggregateError(refused))).toBe("connect ECONNREFUSED ::1:1; connect ECONNREFUSED 127.0.0.1:1");
});
