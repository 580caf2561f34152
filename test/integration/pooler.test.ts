import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { OVERRIDES } from "../../infra/settings/overrides.ts";
import { SETTINGS } from "../helpers/real-stack.ts";
import { asSuperuser, clientConfig, eventually, open, query, refusal, times } from "../helpers/connect.ts";

const opened: pg.Client[] = [];

/** A client that is closed after the test, whatever happens. */
async function track(...args: Parameters<typeof open>): Promise<pg.Client> {
  const client = await open(...args);
  opened.push(client);
  return client;
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((client) => Promise.race([client.end().catch(() => {}), sleep(1_000)])));
});

// Temporary tables show best what a server connection keeps; here they are not what is tested.
const temporaryTables = (change: "grant" | "revoke") =>
  asSuperuser((admin) =>
    admin.query(
      `${change} temporary on database ${inject("stack").outputs.connections.database} ${change === "grant" ? "to" : "from"} app_user`,
    ),
  );
beforeAll(() => temporaryTables("grant"));
afterAll(() => temporaryTables("revoke"));

const backendPid = async (client: pg.Client): Promise<number> =>
  (await client.query("select pg_backend_pid() as pid")).rows[0].pid;

describe("transaction mode", () => {
  test("serves more clients at once than there are server connections", async () => {
    const clients = await Promise.all(times(80).map(() => track("app_user", "transaction")));
    const pids = new Set<number>();
    for (const _round of times(5)) for (const pid of await Promise.all(clients.map(backendPid))) pids.add(pid);
    expect(pids.size).toBeLessThanOrEqual(40);
  });

  test("runs prepared statements of many clients over shared server connections", async () => {
    const clients = await Promise.all(times(60).map(() => track("app_user", "transaction")));
    const run = async (client: pg.Client, index: number, value: number) => {
      const { rows } = await client.query({
        name: `statement ${index % 7}`,
        text: `select $1::int + ${index % 7} as sum, pg_backend_pid() as pid`,
        values: [value],
      });
      expect(rows[0].sum).toBe(value + (index % 7));
      return rows[0].pid as number;
    };
    for (const round of times(5)) await Promise.all(clients.map((client, index) => run(client, index, round)));
    // One client runs its statement again while another one holds the server connection that it was prepared on.
    const [client, ...others] = clients as [pg.Client, ...pg.Client[]];
    const before = await run(client, 0, 5);
    let holder: pg.Client | undefined;
    for (const other of others) {
      await other.query("begin");
      if ((await backendPid(other)) === before) {
        holder = other;
        break;
      }
    }
    expect(holder, "somebody who holds the server connection").toBeDefined();
    await Promise.all(others.filter((other) => other !== holder).map((other) => other.query("rollback")));
    expect(await run(client, 0, 6)).not.toBe(before);
    await holder?.query("rollback");
  });

  test("runs a statement that one client prepared twice under other text, as its own each time", async () => {
    const [one, two] = [await track("app_user", "transaction"), await track("app_user", "transaction")];
    expect((await one.query({ name: "same", text: "select 'one' as whose" })).rows).toEqual([{ whose: "one" }]);
    expect((await two.query({ name: "same", text: "select 'two' as whose" })).rows).toEqual([{ whose: "two" }]);
    expect((await one.query({ name: "same", text: "select 'one' as whose" })).rows).toEqual([{ whose: "one" }]);
  });

  test("does not hand a client's SET LOCAL, temporary table or advisory transaction lock to the next one", async () => {
    const client = await track("app_user", "transaction");
    await client.query("begin");
    await client.query("set local work_mem = '9MB'");
    await client.query("create temporary table leftover (i int) on commit drop");
    await client.query("select pg_advisory_xact_lock(4711)");
    await client.query("commit");
    await Promise.all(
      times(60).map(async () => {
        const next = await track("app_user", "transaction");
        const { rows } = await next.query(
          "select current_setting('work_mem') as work_mem, to_regclass('pg_temp.leftover') as leftover, pg_try_advisory_xact_lock(4711) is not null as lock",
        );
        expect(rows).toEqual([{ work_mem: expect.not.stringMatching(/^9MB$/), leftover: null, lock: true }]);
      }),
    );
  });

  test("keeps what a client set at its start apart from other clients", async () => {
    const one = await track("app_user", "transaction", { application_name: "first client" });
    const two = await track("app_user", "transaction", { application_name: "second client" });
    for (let round = 0; round < 5; round += 1) {
      expect((await one.query("show application_name")).rows).toEqual([{ application_name: "first client" }]);
      expect((await two.query("show application_name")).rows).toEqual([{ application_name: "second client" }]);
    }
  });
});

describe("session mode", () => {
  test("keeps temporary tables, settings and advisory locks as long as the client stays", async () => {
    const client = await track("app_user", "session");
    const pid = await backendPid(client);
    await client.query("create temporary table kept as select 42 as answer");
    await client.query("set work_mem = '9MB'");
    await client.query("select pg_advisory_lock(4712)");
    for (let round = 0; round < 5; round += 1) {
      expect(
        (
          await client.query(
            "select answer, current_setting('work_mem') as work_mem, pg_backend_pid() as pid from kept",
          )
        ).rows,
      ).toEqual([{ answer: 42, work_mem: "9MB", pid }]);
    }
    const other = await track("app_user", "session");
    expect((await other.query("select pg_try_advisory_lock(4712) as free")).rows).toEqual([{ free: false }]);
  });

  test("gives all of it back when the client leaves", async () => {
    const client = await track("app_user", "session");
    await client.query("create temporary table given_back (i int)");
    await client.query("set work_mem = '9MB'");
    await client.query("select pg_advisory_lock(4713)");
    await client.end();
    await eventually(async () => {
      const next = await track("app_user", "session");
      const { rows } = await next.query(
        "select pg_try_advisory_lock(4713) as free, to_regclass('given_back') as leftover, current_setting('work_mem') <> '9MB' as reset",
      );
      await next.end();
      expect(rows).toEqual([{ free: true, leftover: null, reset: true }]);
    });
  });
});

test("session mode serves two usual pools at once, and one more client as soon as another leaves", async () => {
  const size = inject("stack").outputs.connections.session.serverConnections?.["app_user"] ?? 0;
  const pool = () => new pg.Pool(clientConfig("app_user", "session"));
  const pools = [pool(), pool()]; // ten clients each, by node-postgres's default
  const clients = await Promise.all(pools.flatMap((each) => times(10).map(() => each.connect())));
  expect(clients).toHaveLength(size);
  const pids = await Promise.all(clients.map(backendPid));
  expect(new Set(pids).size).toBe(size);

  const waiting = track("app_user", "session");
  const waits = async () => {
    const shown = await query<Record<string, string>>("app_monitor", "console", "show pools");
    return Number(shown.find(({ pool_mode, user }) => pool_mode === "session" && user === "app_user")?.["cl_waiting"]);
  };
  const answer = waiting.then(backendPid);
  await expect.poll(waits).toBe(1);
  clients[0]?.release(true);
  expect(await answer).toBe(pids[0]);
  for (const client of clients.slice(1)) client.release();
  await Promise.all(pools.map((each) => each.end()));
});

describe("limits", () => {
  test(`refuse client ${SETTINGS.pgbouncerMaxClientConn + 1} with the limit's name, and the others go on`, async () => {
    const clients: pg.Client[] = [];
    const tooMany = /no more connections allowed \(max_client_conn\)/;
    // Clients of the test before may still be leaving, and then count for a moment.
    const fill = async () => {
      const missing = SETTINGS.pgbouncerMaxClientConn - clients.length;
      const batch = await Promise.allSettled(times(Math.min(25, missing)).map(() => track("app_user", "transaction")));
      for (const each of batch) {
        if (each.status === "fulfilled") clients.push(each.value);
        else expect(String(each.reason)).toMatch(tooMany);
      }
      return clients.length;
    };
    await expect.poll(fill).toBe(SETTINGS.pgbouncerMaxClientConn);
    expect(await refusal(track("app_user", "transaction"))).toMatch(tooMany);
    const answers = await Promise.all(clients.map((client) => client.query("select 1 as one")));
    expect(answers).toHaveLength(clients.length);
    await clients[0]?.end();
    await eventually(() => track("app_user", "transaction"));
  });

  test("let clients wait while long transactions hold the whole pool, and serve them as soon as one ends", async () => {
    const holders = await Promise.all(times(40).map(() => track("app_user", "transaction")));
    await Promise.all(holders.map((client) => client.query("begin")));
    await Promise.all(holders.map((client) => client.query("select 1")));
    const waiting = await track("app_user", "transaction");
    let served = false;
    const answer = waiting.query("select 1 as one").then((result) => {
      served = true;
      return result.rows;
    });
    const waits = async () => {
      const pools = await query<Record<string, string>>("app_monitor", "console", "show pools");
      return Number(
        pools.find(({ database, user }) => database === "ai_workflow_db" && user === "app_user")?.["cl_waiting"],
      );
    };
    await expect.poll(waits).toBe(1);
    expect(served).toBe(false);
    await holders[0]?.query("commit");
    expect(await answer).toEqual([{ one: 1 }]);
    await Promise.all(holders.slice(1).map((client) => client.query("rollback")));
  });
});

test("a legal client still connects in its turn during 1,000 wrong passwords in a row", async () => {
  let refused = 0;
  const wrong = Promise.all(
    times(8).map(async () => {
      const reasons: string[] = [];
      for (let attempt = 0; attempt < 125; attempt += 1) {
        reasons.push(await refusal(open("app_user", "transaction", { password: randomBytes(12).toString("hex") })));
        refused += 1;
      }
      return reasons;
    }),
  );
  /** How many of the others were answered while it connected, asked and left. */
  const waited: number[] = [];
  const over = new AbortController();
  void wrong.finally(() => over.abort());
  while (!over.signal.aborted) {
    const before = refused;
    expect(await query("app_readonly", "transaction", "select 1 as one")).toEqual([{ one: 1 }]);
    waited.push(refused - before);
  }
  const reasons = (await wrong).flat();
  expect(reasons).toHaveLength(1_000);
  for (const reason of reasons) expect(reason).toContain("SASL authentication failed");
  expect(waited.length).toBeGreaterThan(3);
  // Eight at a time try it; one that had to wait until they are done would see hundreds go by.
  expect(Math.max(...waited)).toBeLessThan(200);
});

test("every setting that may be overridden is one that the running servers know", async () => {
  const inServer = await asSuperuser((client) =>
    client.query<{ name: string }>("select lower(name) as name from pg_settings"),
  );
  const known = new Set(inServer.rows.map(({ name }) => name));
  expect([...OVERRIDES.postgresSettings.overridable].filter((name) => !known.has(name))).toEqual([]);

  const inPooler = await query<{ key: string }>("app_monitor", "console", "show config");
  const keys = new Set(inPooler.map(({ key }) => key));
  expect([...OVERRIDES.pgbouncerSettings.overridable].filter((name) => !keys.has(name))).toEqual([]);
});
