import { randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { connectionFor } from "../../stack/connections.ts";
import { OVERRIDES } from "../../infra/settings/overrides.ts";
import { SETTINGS } from "../helpers/real-stack.ts";
import {
  asSuperuser,
  clientConfig,
  containerName,
  docker,
  eventually,
  open,
  query,
  refusal,
  shell,
  startedAt,
  type Change,
} from "../helpers/connect.ts";

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

const times = (count: number) => Array.from({ length: count }, (_, index) => index);
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
    const pids = new Map<number, Set<number>>();
    for (const round of times(5)) {
      const results = await Promise.all(
        clients.map((client, index) =>
          client.query({
            name: `statement ${index % 7}`,
            text: `select $1::int + ${index % 7} as sum, pg_backend_pid() as pid`,
            values: [round],
          }),
        ),
      );
      for (const [index, { rows }] of results.entries()) {
        expect(rows[0].sum).toBe(round + (index % 7));
        pids.set(index, (pids.get(index) ?? new Set()).add(rows[0].pid));
      }
    }
    // Some client did prepare on one server connection and run on another.
    expect([...pids.values()].some((seen) => seen.size > 1)).toBe(true);
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

describe("limits", () => {
  test(`refuse client ${SETTINGS.pgbouncerMaxClientConn + 1} with the limit's name, and the others go on`, async () => {
    const clients: pg.Client[] = [];
    // Connections of the pool itself count too, so the limit is met at or a little below the number.
    let reason = "";
    while (reason === "" && clients.length <= SETTINGS.pgbouncerMaxClientConn) {
      const batch = await Promise.allSettled(
        times(Math.min(25, SETTINGS.pgbouncerMaxClientConn + 1 - clients.length)).map(() =>
          track("app_user", "transaction"),
        ),
      );
      for (const each of batch) {
        if (each.status === "fulfilled") clients.push(each.value);
        else reason = String((each.reason as Error).message);
      }
    }
    expect(reason).toMatch(/no more connections allowed \(max_client_conn\)/);
    expect(clients.length).toBe(SETTINGS.pgbouncerMaxClientConn);
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
      const pools = await query<{ database: string; user: string; cl_waiting: string }>(
        "app_monitor",
        "transaction",
        "show pools",
        { database: "pgbouncer" },
      );
      return Number(
        pools.find(({ database, user }) => database === "ai_workflow_db" && user === "app_user")?.cl_waiting,
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
  for (const reason of reasons) expect(reason).toMatch(/SASL authentication failed|password authentication failed/);
  expect(waited.length).toBeGreaterThan(3);
  // Eight at a time try it; one that had to wait until they are done would see hundreds go by.
  expect(Math.max(...waited)).toBeLessThan(200);
});

describe("malformed packets", () => {
  const own = connectionFor;
  const config = (): { host: string; port: number } => {
    const { host, port } = clientConfig("app_user", "transaction");
    return { host: host as string, port: port as number };
  };
  const startup = (parameters: Record<string, string>, version = 196_608): Buffer => {
    const body = Buffer.from(
      Object.entries(parameters)
        .map(([key, value]) => `${key}\0${value}\0`)
        .join("") + "\0",
    );
    const head = Buffer.alloc(8);
    head.writeInt32BE(8 + body.length, 0);
    head.writeInt32BE(version, 4);
    return Buffer.concat([head, body]);
  };
  const message = (type: string, body: Buffer, length = body.length + 4): Buffer => {
    const head = Buffer.alloc(5);
    head.write(type, 0, "latin1");
    head.writeInt32BE(length, 1);
    return Buffer.concat([head, body]);
  };
  /** Waits for an event, but not for ever: some packets are answered by silence. */
  const heard = async (socket: net.Socket, event: "data" | "close"): Promise<void> => {
    if (socket.destroyed) return;
    await Promise.race([once(socket, event), once(socket, "close"), sleep(250)]).catch(() => {});
  };
  const ended = async (socket: net.Socket): Promise<void> => {
    socket.on("error", () => {});
    await heard(socket, "close");
    socket.destroy();
  };

  /** A TLS connection past the handshake, as any holder of a certificate gets it. */
  async function secure(): Promise<tls.TLSSocket> {
    const { sslRootCert, sslCert, sslKey } = own(inject("stack").outputs, "app_user", "transaction");
    const plain = net.connect(config());
    await once(plain, "connect");
    plain.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]));
    await once(plain, "data");
    const socket = tls.connect({
      socket: plain,
      ca: readFileSync(sslRootCert),
      cert: readFileSync(sslCert),
      key: readFileSync(sslKey),
    });
    await once(socket, "secureConnect");
    return socket;
  }

  const stillServes = async () => {
    expect(await query("app_user", "transaction", "select 1 as one")).toEqual([{ one: 1 }]);
  };

  test("before TLS, 8,500 of them, leave the pooler alive", async () => {
    const before = await startedAt("pgbouncer");
    for (const _batch of times(34)) {
      await Promise.all(
        times(250).map(async (index) => {
          const socket = net.connect(config());
          socket.on("error", () => {});
          const packet =
            index % 5 === 0
              ? startup(
                  {
                    user: "app_user",
                    database: "ai_workflow_db",
                    options: randomBytes(40).toString("latin1").replaceAll("\0", "x"),
                  },
                  index % 2 ? 196_608 : 131_072,
                )
              : index % 5 === 1
                ? Buffer.concat([Buffer.from([0x7f, 0xff, 0xff, 0xff]), randomBytes(20)])
                : index % 5 === 2
                  ? Buffer.from([0, 0, 0, 0])
                  : randomBytes(1 + ((index * 7) % 300));
          socket.end(packet);
          await ended(socket);
        }),
      );
    }
    await stillServes();
    expect(await startedAt("pgbouncer")).toBe(before);
  });

  test("inside TLS, in start-up and in every step of SCRAM, 1,500 of them, leave the pooler alive", async () => {
    const before = await startedAt("pgbouncer");
    const nonce = "rOprNGfwEbeRWgbNEkqO";
    const initial = (text: Buffer, mechanism = "SCRAM-SHA-256", length = text.length): Buffer => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(length);
      return message("p", Buffer.concat([Buffer.from(`${mechanism}\0`), size, text]));
    };
    const firsts = [
      () => initial(randomBytes(64)),
      () => initial(Buffer.from(`n,,n=,r=${nonce}`), "SCRAM-SHA-256-PLUS"),
      () => initial(Buffer.from(`y,,n=app_user,r=${nonce}`), "SCRAM-SHA-256", 2_147_483_647),
      () => initial(Buffer.from(`n,,n=app_user,r=${nonce}`), "SCRAM-SHA-256", -5),
      () => initial(Buffer.from(`n,,n=${"a".repeat(5_000)},r=${nonce}`)),
      () => initial(Buffer.from("n,,n=,r=")),
      () => initial(Buffer.from(`p=tls-server-end-point,,n=,r=${nonce}`)),
      () => initial(Buffer.from(`n,a=app_readonly,n=,r=${nonce}`)),
      () => message("p", randomBytes(30), 2_147_483_647),
      () => message("p", Buffer.alloc(0)),
      () => message("Q", Buffer.from("select 1\0")),
      () => randomBytes(500),
    ];
    const finals = [
      () => message("p", randomBytes(80)),
      () => message("p", Buffer.from("c=biws,r=,p=")),
      () => message("p", Buffer.from(`c=biws,r=${nonce},p=${"A".repeat(4_000)}`)),
      () => message("p", Buffer.from(`c=biws,r=${nonce}%hv,p=!!!!`)),
      () => message("p", Buffer.from(`c=eSws,r=${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`)),
    ];
    for (const batch of times(30)) {
      await Promise.all(
        times(50).map(async (index) => {
          const socket = await secure();
          socket.on("error", () => {});
          const round = batch * 50 + index;
          if (round % 4 === 0) {
            socket.write(
              round % 8 === 0
                ? randomBytes(200)
                : startup({ user: "app_user".repeat(40), database: "x".repeat(300), search_path: "evil" }),
            );
          } else {
            socket.write(startup({ user: "app_user", database: "ai_workflow_db" }));
            await heard(socket, "data");
            if (round % 2 === 0) {
              socket.write(firsts[round % firsts.length]?.() ?? "");
            } else {
              socket.write(initial(Buffer.from(`n,,n=,r=${nonce}`)));
              await heard(socket, "data");
              if (!socket.destroyed) socket.write(finals[round % finals.length]?.() ?? "");
            }
          }
          socket.end();
          await ended(socket);
        }),
      );
    }
    await stillServes();
    expect(await startedAt("pgbouncer")).toBe(before);
  });
});

/** Processes of a container by name, killed as the kernel would: the container's init sees a child die. */
const killInside = (service: "postgres" | "pgbouncer") =>
  shell(
    service,
    service === "postgres"
      ? "kill -9 $(head -n 1 /var/lib/postgresql/data/pgdata/postmaster.pid)"
      : 'for p in /proc/[0-9]*; do read -r name < $p/comm && [ "$name" = pgbouncer ] && kill -9 "${p#/proc/}"; done; true',
  );

/** Clients that query all the time and come back when they are cut off, until told to stop. */
function load(count: number, change: Change = {}) {
  const stopped = new AbortController();
  let answered = 0;
  let cut = 0;
  const clients = times(count).map(async () => {
    while (!stopped.signal.aborted) {
      try {
        const client = await open("app_user", "transaction", change);
        try {
          while (!stopped.signal.aborted) {
            await client.query("select 1");
            answered += 1;
          }
        } finally {
          client.end().catch(() => {});
        }
      } catch {
        cut += 1;
        await sleep(50); // as a driver's back-off would
      }
    }
  });
  return {
    answered: () => answered,
    cut: () => cut,
    stop: async () => {
      stopped.abort();
      await Promise.all(clients);
    },
  };
}

test("the pooler killed under 200 clients is back at once, its clients come back, and no transaction is left behind", async () => {
  const clients = load(200);
  try {
    await expect.poll(() => clients.answered()).toBeGreaterThan(200);
    const orphan = await track("app_user", "transaction");
    await orphan.query("begin");
    await orphan.query("select count(*) from public.users");
    const before = await startedAt("pgbouncer");
    const { RestartCount: restarts } = await docker().getContainer(containerName("pgbouncer")).inspect();
    await killInside("pgbouncer");
    await eventually(async () => expect(await startedAt("pgbouncer")).not.toBe(before), 60_000);
    await eventually(() => query("app_user", "transaction", "select 1"), 60_000);
    // By the engine itself, by the first start that it tried and without a pause of its own.
    const { HostConfig, RestartCount, State } = await docker().getContainer(containerName("pgbouncer")).inspect();
    expect(["always", "unless-stopped"]).toContain(HostConfig.RestartPolicy?.Name);
    expect([RestartCount - restarts, State.Running]).toEqual([1, true]);
    expect(clients.cut()).toBeGreaterThan(0);
    const answered = clients.answered();
    await expect.poll(() => clients.answered()).toBeGreaterThan(answered + 200);
    const left = () =>
      asSuperuser(
        async (admin) =>
          (
            await admin.query(
              "select count(*)::int as count from pg_stat_activity where usename = 'app_user' and state like 'idle in transaction%'",
            )
          ).rows[0].count,
      );
    await expect.poll(left).toBe(0);
  } finally {
    await clients.stop();
  }
});

test("the server killed while the pooler lives comes back with its data, and the pooler's clients get service again without its restart", async () => {
  await asSuperuser(async (admin) => {
    await admin.query("create table if not exists public.test_survivors (i int)");
    await admin.query("insert into public.test_survivors values (1)");
  }, "ai_workflow_db");
  const clients = load(20);
  try {
    await expect.poll(() => clients.answered()).toBeGreaterThan(100);
    const [server, pooler] = [await startedAt("postgres"), await startedAt("pgbouncer")];
    await killInside("postgres");
    await eventually(async () => expect(await startedAt("postgres")).not.toBe(server), 60_000);
    await eventually(() => query("app_user", "transaction", "select 1"), 60_000);
    const answered = clients.answered();
    await expect.poll(() => clients.answered()).toBeGreaterThan(answered + 100);
    expect(await startedAt("pgbouncer")).toBe(pooler);
    expect(
      await asSuperuser(
        async (admin) => (await admin.query("select i from public.test_survivors")).rows,
        "ai_workflow_db",
      ),
    ).toEqual([{ i: 1 }]);
  } finally {
    await clients.stop();
    await eventually(() =>
      asSuperuser((admin) => admin.query("drop table if exists public.test_survivors"), "ai_workflow_db"),
    );
  }
});

test("a new client gets the pooler's own clear error when the server hangs, and service as soon as it is back", async () => {
  const server = docker().getContainer(containerName("postgres"));
  await server.pause();
  try {
    // The driver would wait longer than this test may take: the words are the pooler's, and so is the limit.
    const reason = await refusal(open("app_readonly", "transaction", { connectionTimeoutMillis: 600_000 }));
    expect(reason).toMatch(/client_login_timeout|server_login_retry|connect failed/);
  } finally {
    await server.unpause();
  }
  await eventually(() => query("app_readonly", "transaction", "select 1"), 60_000);
  const limits = await query<{ key: string; value: string }>("app_monitor", "transaction", "show config", {
    database: "pgbouncer",
  });
  expect(Number(limits.find(({ key }) => key === "client_login_timeout")?.value)).toBe(
    SETTINGS.pgbouncerClientLoginTimeoutSec,
  );
});

test("every setting that may be overridden is one that the running servers know", async () => {
  const inServer = await asSuperuser((client) =>
    client.query<{ name: string }>("select lower(name) as name from pg_settings"),
  );
  const known = new Set(inServer.rows.map(({ name }) => name));
  expect([...OVERRIDES.postgresSettings.overridable].filter((name) => !known.has(name))).toEqual([]);

  const inPooler = await query<{ key: string }>("app_monitor", "transaction", "show config", { database: "pgbouncer" });
  const keys = new Set(inPooler.map(({ key }) => key));
  expect([...OVERRIDES.pgbouncerSettings.overridable].filter((name) => !keys.has(name))).toEqual([]);
});
