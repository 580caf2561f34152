import { randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ClientRole } from "../../database/access/roles.ts";
import { clientConfig, eventually, open, query, refusal, shell } from "../helpers/connect.ts";

// What one client may do to the others that come through the pooler as the same role.

const DATABASE = "ai_workflow_db";
const QUERY = "select 1 as one";
const times = (count: number) => Array.from({ length: count }, (_, index) => index);

/** Start-up parameters that no driver's options have. */
function openWith(role: ClientRole, parameters: Readonly<Record<string, string>>): Promise<pg.Client> {
  class Client extends pg.Client {
    // node-postgres sends what this returns. https://www.postgresql.org/docs/16/protocol-flow.html
    getStartupConf(): Record<string, string> {
      return { user: role, database: DATABASE, ...parameters };
    }
  }
  const client = new Client(clientConfig(role, "transaction"));
  client.on("error", () => {});
  return client.connect().then(
    () => client,
    (error: unknown) => {
      client.end().catch(() => {});
      throw error;
    },
  );
}

/** One client that asks for a replication connection and uses it. */
async function replicate(role: ClientRole, replication: string): Promise<void> {
  const client = await openWith(role, { replication });
  try {
    await client.query("IDENTIFY_SYSTEM");
  } finally {
    client.end().catch(() => {});
  }
}

/** Server connections of a role's pool. */
async function serverConnections(role: ClientRole): Promise<number> {
  const pools = await query<Record<string, string>>("app_monitor", "console", "show pools");
  const pool = pools.find(({ database, user }) => database === DATABASE && user === role);
  return ["sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"].reduce(
    (sum, column) => sum + Number(pool?.[column] ?? 0),
    0,
  );
}

/** At the pooler's own console, where only its own account comes in. */
async function atConsole(command: string): Promise<void> {
  const line = `psql -XAtq -h /run/pgbouncer -p 6432 -U pgbouncer -d pgbouncer -c "${command}"`;
  expect((await shell("pgbouncer", line)).exitCode).toBe(0);
}

const opened: pg.Client[] = [];
const track = async (role: ClientRole): Promise<pg.Client> => {
  const client = await open(role, "transaction");
  opened.push(client);
  return client;
};

beforeEach(() => atConsole("set server_idle_timeout = 1"));
afterEach(async () => {
  await Promise.all(opened.splice(0).map((client) => Promise.race([client.end().catch(() => {}), sleep(1_000)])));
  await atConsole("reload");
});

describe("a client that asks for a replication connection", () => {
  test("keeps no other client of its role from service, over and over, in a pool that was at rest", async () => {
    const role = "app_readonly";
    const clients = await Promise.all(times(3).map(() => track(role)));
    await Promise.all(clients.map((client) => client.query("begin")));
    await Promise.all(clients.map((client) => client.query(QUERY)));
    await Promise.all(clients.map((client) => client.query("commit")));
    expect(await serverConnections(role)).toBeGreaterThan(1);
    // All but the last are closed; one more time-out, and it would be gone too if it could.
    await expect.poll(() => serverConnections(role), { interval: 100 }).toBeLessThanOrEqual(1);
    await sleep(2_000);

    const stopped = new AbortController();
    const reasons: string[] = [];
    const intruders = times(4).map(async () => {
      while (!stopped.signal.aborted) reasons.push(await refusal(replicate(role, "database")));
    });
    const outcomes: string[] = [];
    try {
      await expect.poll(() => reasons.length).toBeGreaterThan(0);
      for (const _round of times(30))
        outcomes.push(
          await query(role, "transaction", QUERY).then(
            () => "served",
            (error: Error) => error.message,
          ),
        );
    } finally {
      stopped.abort();
    }
    await Promise.all(intruders);
    expect(new Set(outcomes)).toEqual(new Set(["served"]));
    expect(reasons.length).toBeGreaterThan(4);
    for (const reason of reasons) expect(reason).toMatch(/login failed|permission denied to start WAL sender/);
  });

  // The limit that docs/security.md states: nothing in PgBouncer refuses the request itself.
  test("leaves a pool that has no server connection usable again by itself", async () => {
    const role = "app_readonly";
    await atConsole(`reconnect ${DATABASE}`);
    await expect.poll(() => serverConnections(role)).toBe(0);
    expect(await refusal(replicate(role, "database"))).toMatch(/login failed|permission denied to start WAL sender/);
    await eventually(() => query(role, "transaction", QUERY));
  });

  test("for the whole server is refused before PostgreSQL hears of it", async () => {
    for (const replication of ["true", "on", "1", "yes"])
      expect(await refusal(replicate("app_readonly", replication)), replication).toMatch(
        /no authentication method is found|login rejected/,
      );
    expect(await query("app_readonly", "transaction", QUERY)).toEqual([{ one: 1 }]);
  });
});

describe("start-up parameters of one client", () => {
  test("that PostgreSQL refuses cost it its connection, and the others nothing but a new one", async () => {
    const other = await track("app_readonly");
    for (const parameters of [
      { TimeZone: "Mars/Phobos" },
      { DateStyle: "evil" },
      { IntervalStyle: "evil" },
      { default_transaction_read_only: "evil" },
      { standard_conforming_strings: "maybe" },
    ] as Record<string, string>[]) {
      const reason = await refusal(openWith("app_readonly", parameters).then((client) => client.query(QUERY)));
      expect(reason).toMatch(/invalid (server parameter|value for parameter)/);
      expect((await other.query(QUERY)).rows).toEqual([{ one: 1 }]);
    }
  });

  test("never become another client's settings", async () => {
    const other = await track("app_readonly");
    const one = await openWith("app_readonly", {
      TimeZone: "Asia/Tokyo",
      options: "-c default_transaction_read_only=on -cintervalstyle=iso_8601",
    });
    try {
      const shown =
        "select current_setting('TimeZone') as zone, current_setting('default_transaction_read_only') as frozen, current_setting('intervalstyle') as style";
      for (let round = 0; round < 3; round += 1) {
        expect((await one.query(shown)).rows).toEqual([{ zone: "Asia/Tokyo", frozen: "on", style: "iso_8601" }]);
        expect((await other.query(shown)).rows).toEqual([{ zone: "UTC", frozen: "off", style: "postgres" }]);
      }
    } finally {
      await one.end();
    }
  });

  // PostgreSQL 16 does not report them, so that the pooler could not give them to this client only.
  test("that the pooler cannot track are refused by name, never dropped, in both modes", async () => {
    const untracked = ["session_replication_role", "role", "session_authorization", "search_path", "statement_timeout"];
    for (const database of ["ai_workflow_db", "ai_workflow_db_session"])
      for (const name of [...untracked, "lock_timeout", "app.tenant"]) {
        expect(await refusal(openWith("app_readonly", { database, [name]: "on" }))).toContain(
          `unsupported startup parameter: ${name}`,
        );
        for (const options of [
          `-c ${name}=on`,
          `-c${name}=on`,
          `--${name}=on`,
          `-c default_transaction_read_only=on -c ${name}=1`,
        ])
          expect(await refusal(openWith("app_readonly", { database, options })), options).toContain(
            `unsupported startup parameter in options: ${name}`,
          );
      }
    expect(await refusal(openWith("app_readonly", { options: "-e" }))).toMatch(/unsupported options startup parameter/);
  });

  test("that drivers send unasked hinder nobody", async () => {
    const sent = { extra_float_digits: "2", DateStyle: "ISO, MDY", client_encoding: "UTF8", TimeZone: "Europe/Berlin" };
    const client = await openWith("app_readonly", sent);
    opened.push(client);
    expect((await client.query(QUERY)).rows).toEqual([{ one: 1 }]);
  });
});

test("requests to cancel with made-up keys, 500 of them, cancel nothing and leave nothing behind", async () => {
  const { host, port } = clientConfig("app_user", "transaction") as { host: string; port: number };
  const holder = await open("app_user", "direct");
  opened.push(holder);
  await holder.query("select pg_advisory_lock(4712)");
  // It waits for the lock as long as the requests are sent.
  const waiting = (await track("app_user")).query("select pg_advisory_xact_lock(4712), 1 as one");
  for (const _batch of times(10)) {
    await Promise.all(
      times(50).map(async () => {
        const socket = net.connect({ host, port });
        socket.on("error", () => {});
        await once(socket, "connect");
        socket.end(Buffer.concat([Buffer.from([0, 0, 0, 16, 4, 210, 22, 46]), randomBytes(8)]));
        await Promise.race([once(socket, "close"), sleep(1_000)]);
        socket.destroy();
      }),
    );
  }
  await holder.query("select pg_advisory_unlock(4712)");
  expect((await waiting).rows[0]?.one).toBe(1);
  expect(await query("app_user", "transaction", QUERY)).toEqual([{ one: 1 }]);
});
