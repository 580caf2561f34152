import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type ClientFormat, clientForm } from "../../database/client-formats.ts";
import { libpqUrl } from "../../database/libpq.ts";
import { connectionFor } from "../../stack/connections.ts";
import { amongOthers } from "../helpers/busy-pooler.ts";
import { CLIENTS, openWorkshop, PSYCOPG_POOL } from "../helpers/clients.ts";
import { type Impostors, impostors, REFUSED } from "../helpers/impostors.ts";
import { clientLimits } from "../helpers/python.ts";
import { aiwdb, mustSucceed } from "../helpers/testdb.ts";
import { writtenBy } from "../helpers/written-users.ts";

const { outputs, name, home } = inject("stack");
const MODES = ["transaction", "session", "direct"] as const;
const pooled = connectionFor(outputs, "app_user", "transaction");
const superuser = libpqUrl(connectionFor(outputs, "postgres", "direct"));
const workshop = openWorkshop();
afterAll(() => workshop.remove());

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

describe.each(CLIENTS)("examples/clients/$name", (client) => {
  test.each(MODES)("writes, reads and deletes in transactions of its own, in %s mode", async (mode) => {
    const text = await printed(client.format, mode);
    const run = async () => mustSucceed(await workshop.run(client, text));
    const written = await writtenBy(superuser, () =>
      mode === "transaction" ? amongOthers(libpqUrl(pooled), run) : run(),
    );
    expect(written).toEqual({ inserts: 10, deletes: 10, transactions: 20 });
  });
});

describe("a connection that is printed verifies the server", () => {
  let others: Impostors;
  beforeAll(async () => {
    others = await impostors(pooled);
  });
  afterAll(() => others.close());

  test.each(CLIENTS)("for $name, by its authority and its name", async (client) => {
    for (const other of [others.ofAnotherAuthority, others.underAnotherName]) {
      const { exitCode, stdout, stderr } = await workshop.run(client, clientForm(other, client.format).text);
      expect(`${stdout}${stderr}`).toMatch(REFUSED);
      expect(exitCode).not.toBe(0);
    }
  });
});

test("psycopg's pool has all connections of its default size in session mode, and none waits", async () => {
  const { stdout } = mustSucceed(await workshop.run(PSYCOPG_POOL, await printed("libpq", "session")));
  expect(stdout.trim()).toBe("4");
});

test("what docs/drivers.md says of the limits is so", async () => {
  const limits: Record<string, unknown> = {};
  for (const mode of MODES) limits[mode] = await clientLimits(libpqUrl(connectionFor(outputs, "app_user", mode)));
  const always = {
    sslnegotiation_direct: expect.stringMatching(/SSL error|timeout expired/),
    two_phase_commit: expect.stringMatching(/prepared transactions are disabled/),
  };
  const channel_binding = expect.stringMatching(/did not offer an authentication method that supports channel binding/);
  expect(limits).toEqual({
    transaction: {
      ...always,
      channel_binding,
      listen: "the listener got nothing",
      sql_prepare: expect.stringMatching(/prepared statement "one_\w+" does not exist/),
    },
    session: { ...always, channel_binding, listen: "done", sql_prepare: "done" },
    direct: { ...always, channel_binding: "done", listen: "done", sql_prepare: "done" },
  });
});
