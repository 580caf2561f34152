import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type ClientFormat, clientForm } from "../../database/client-formats.ts";
import { libpqUrl } from "../../database/libpq.ts";
import { connectionFor } from "../../stack/connections.ts";
import { CLIENTS, openWorkshop } from "../helpers/clients.ts";
import { clientLimits } from "../helpers/python.ts";
import { aiwdb, mustSucceed } from "../helpers/testdb.ts";
import { createCa } from "../helpers/throw-away-ca.ts";
import { writtenBy } from "../helpers/written-users.ts";

const { outputs, name, home } = inject("stack");
const MODES = ["transaction", "session", "direct"] as const;
const workshop = openWorkshop();
const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-drivers-"));
afterAll(() => {
  workshop.remove();
  rmSync(folder, { recursive: true });
});

const known = new Map<string, Promise<string>>();
/** What the command prints for a user of this stack. Asked once for each format and mode. */
function printed(format: ClientFormat, mode: string): Promise<string> {
  const key = `${format} ${mode}`;
  const text = known.get(key) ?? print(["--format", format, "--mode", mode]);
  known.set(key, text);
  return text;
}

async function print(args: readonly string[]): Promise<string> {
  const env = {
    XDG_STATE_HOME: path.join(home, "state"),
    XDG_DATA_HOME: path.join(home, "data"),
    PULUMI_BACKEND_URL: `file://${path.join(home, "backend")}`,
  };
  return mustSucceed(await aiwdb(["url", "--stack", name, ...args], env)).stdout.trim();
}

const superuser = libpqUrl(connectionFor(outputs, "postgres", "direct"));

describe.each(CLIENTS)("examples/clients/$name", (client) => {
  test.each(MODES)("writes, reads and deletes in transactions of its own, in %s mode", async (mode) => {
    const text = await printed(client.format, mode);
    const written = await writtenBy(superuser, async () => mustSucceed(await workshop.run(client, text)));
    expect(written).toEqual({ inserts: 10, deletes: 10, transactions: 20 });
  });
});

describe("a connection that is printed verifies the server", () => {
  const connection = connectionFor(outputs, "app_user", "transaction");
  const forwarder = net.createServer((client) => {
    const server = net.connect(connection.port, connection.host);
    client.pipe(server).pipe(client);
    for (const socket of [client, server]) socket.on("error", () => socket.destroy());
  });
  beforeAll(async () => {
    await new Promise<void>((listening) => forwarder.listen(0, "127.0.0.2", listening));
    writeFileSync(path.join(folder, "other.crt"), (await createCa()).certPem);
  });
  afterAll(() => forwarder.close());

  const REFUSED = /certificate|hostname|altname|issuer|self.signed|x509/i;
  test.each(CLIENTS)(
    "$name refuses another authority's, and one at an address that its certificate lacks",
    async (client) => {
      const { port } = forwarder.address() as net.AddressInfo;
      for (const other of [
        { ...connection, sslRootCert: path.join(folder, "other.crt") },
        { ...connection, host: "127.0.0.2", port },
      ]) {
        const { exitCode, stdout, stderr } = await workshop.run(client, clientForm(other, client.format).text);
        expect(`${stdout}${stderr}`).toMatch(REFUSED);
        expect(exitCode).not.toBe(0);
      }
    },
  );
});

test("what docs/drivers.md says of the limits is so", async () => {
  const limits = Object.fromEntries(
    await Promise.all(
      MODES.map(async (mode) => [mode, await clientLimits(libpqUrl(connectionFor(outputs, "app_user", mode)))]),
    ),
  );
  const sslnegotiation_direct = expect.stringMatching(/SSL error/);
  const two_phase_commit = expect.stringMatching(/prepared transactions are disabled/);
  const noBinding = expect.stringMatching(
    /server did not offer an authentication method that supports channel binding/,
  );
  const always = { sslnegotiation_direct, two_phase_commit };
  expect(limits).toEqual({
    transaction: {
      ...always,
      channel_binding: noBinding,
      listen: "the listener got nothing",
      sql_prepare: expect.stringMatching(/prepared statement "one" does not exist/),
    },
    session: { ...always, channel_binding: noBinding, listen: "done", sql_prepare: "done" },
    direct: { ...always, channel_binding: "done", listen: "done", sql_prepare: "done" },
  });
});
