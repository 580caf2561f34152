import path from "node:path";
import { readFileSync } from "node:fs";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reconnect } from "../../infra/servers/pgbouncer/console.ts";
import { poolerOf } from "../../infra/settings/listeners.ts";
import type { Mode } from "../../stack/connections.ts";
import { containerName, docker, eventually, open, query, refusal } from "../helpers/connect.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { type OwnStack, ownStack } from "../helpers/own-stack.ts";

// What a client leaves behind, and who meets it. The table in docs/pooler.md is made here:
// `npm test -- test/integration/pooler-state.test.ts -u` writes it anew.

const PAGE = path.join(import.meta.dirname, "../../docs/pooler.md");
const [BEGIN, END] = ["<!-- made by test/integration/pooler-state.test.ts -->", "<!-- end -->"];

/** Something that a client may leave behind on a server connection. */
interface State {
  readonly what: string;
  /** Leaves it, in the client's transaction. */
  readonly leave: (client: pg.Client) => Promise<unknown>;
  /** Whether a client, in its transaction, has it. */
  readonly has: (client: pg.Client) => Promise<boolean>;
}

const sql = (text: string) => (client: pg.Client) => client.query(text);
const yes = (condition: string) => async (client: pg.Client) =>
  (await client.query(`select ${condition} as yes`)).rows[0].yes as boolean;
const setting = (name: string, value: string, shown = value): State => ({
  what: `\`SET ${name}\``,
  leave: sql(`set ${name} = '${value}'`),
  has: yes(`coalesce(current_setting('${name}', true), '') = '${shown}'`),
});

const STATES: readonly State[] = [
  setting("statement_timeout", "77s"),
  setting("search_path", "pg_catalog"),
  setting("app.tenant", "one"),
  setting("default_transaction_read_only", "on"),
  setting("TimeZone", "Asia/Tokyo"),
  setting("IntervalStyle", "iso_8601"),
  setting("application_name", "one of many"),
  {
    what: "`SET LOCAL`, `set_config(…, true)`",
    leave: sql("set local app.tenant = 'one'"),
    has: yes("coalesce(current_setting('app.tenant', true), '') = 'one'"),
  },
  {
    what: "a temporary table (`appUserTemporary`)",
    leave: sql("create temporary table leftover (i int)"),
    has: yes("to_regclass('pg_temp.leftover') is not null"),
  },
  {
    what: "`pg_advisory_lock`",
    leave: sql("select pg_advisory_lock(4711)"),
    has: yes("exists (select from pg_locks where locktype = 'advisory' and objid = 4711 and pid = pg_backend_pid())"),
  },
  {
    what: "`pg_advisory_xact_lock`",
    leave: sql("select pg_advisory_xact_lock(4712)"),
    has: yes("exists (select from pg_locks where locktype = 'advisory' and objid = 4712 and pid = pg_backend_pid())"),
  },
  {
    what: "`LISTEN`",
    leave: sql("listen leftover"),
    has: yes("exists (select from pg_listening_channels() as channel where channel = 'leftover')"),
  },
  {
    what: "`PREPARE` as SQL",
    leave: sql("prepare leftover as select 1"),
    has: yes("exists (select from pg_prepared_statements where name = 'leftover')"),
  },
  {
    what: "a statement that the driver prepares",
    leave: (client) => client.query({ name: "leftover", text: "select 'one' as whose" }),
    // The client that has it sends its name only. Any other one sends a text of its own with the same name.
    has: async (client) => {
      const text = leftBy.has(client) ? "select 'one' as whose" : "select 'another' as whose";
      return (await client.query({ name: "leftover", text })).rows[0].whose === "one";
    },
  },
  {
    what: "a cursor `WITH HOLD`",
    leave: sql("declare leftover cursor with hold for select 1"),
    has: yes("exists (select from pg_cursors where name = 'leftover')"),
  },
  {
    what: "`lastval()`",
    leave: sql("select nextval(pg_get_serial_sequence('public.users', 'id'))"),
    has: async (client) =>
      client.query("select lastval()").then(
        () => true,
        (error: { code?: string }) => {
          if (error.code !== "55000") throw error; // "lastval is not yet defined in this session"
          return false;
        },
      ),
  },
];

/** Clients that have left the state behind. */
const leftBy = new WeakSet<pg.Client>();

let own: OwnStack;
/** What was seen, by column and state. */
const seen = new Map<string, Map<string, string>>();
const opened = new Set<pg.Client>();

async function track(mode: Mode): Promise<pg.Client> {
  const client = await open("app_user", mode, own);
  opened.add(client);
  return client;
}
const close = async (...clients: pg.Client[]) => {
  for (const client of clients) opened.delete(client);
  await Promise.all(clients.map((client) => client.end()));
};

// Transaction mode has two server connections, so that two clients in a transaction hold all of them.
const SETTINGS = {
  appUserTemporary: true,
  appUserStatementTimeoutSec: 30,
  pgbouncerDefaultPoolSize: 2,
  pgbouncerReservePoolSize: 0,
};

beforeAll(async () => {
  own = await ownStack(`ci-p${process.pid}`, SETTINGS);
});
afterAll(async () => {
  await close(...opened);
  await own.remove();
});

async function begin(client: pg.Client): Promise<number> {
  await client.query("begin");
  return (await client.query("select pg_backend_pid() as pid")).rows[0].pid;
}

/** Runs work in a client's transaction, on the server connection `pid` or on the other one. */
async function onServer<T>(client: pg.Client, which: "same" | "other", pid: number, work: () => Promise<T>) {
  const holders = [await track("transaction"), await track("transaction")];
  let freed: pg.Client | undefined;
  try {
    const held = [];
    for (const holder of holders) held.push({ holder, pid: await begin(holder) });
    freed = held.find((each) => (each.pid === pid) === (which === "same"))?.holder;
    expect(freed, `a holder of the ${which} server connection`).toBeDefined();
    await freed?.query("rollback");
    expect((await begin(client)) === pid).toBe(which === "same");
    const result = await work();
    await client.query("rollback");
    return result;
  } finally {
    // A client that leaves in its transaction takes the server connection with it. Nobody waits for one here: the
    // holder that was freed comes last.
    for (const holder of holders.toSorted((a, b) => Number(a === freed) - Number(b === freed)))
      await holder.query("rollback");
    await close(...holders);
  }
}

/** Leaves the state behind, in a transaction. */
async function leave(client: pg.Client, state: State): Promise<number> {
  const pid = await begin(client);
  await state.leave(client);
  await client.query("commit");
  leftBy.add(client);
  return pid;
}

const ENDS = "ends with the transaction";
const FOLLOWS = "stays with the client";
const LEAKS = "**the next client has it**";

/** Who has it in transaction mode: the client itself, on this server connection and on another one, or another client. */
async function inTransactionMode(state: State): Promise<string> {
  const client = await track("transaction");
  const other = await track("transaction");
  const pid = await leave(client, state);
  const here = await onServer(client, "same", pid, () => state.has(client));
  const moved = await onServer(client, "other", pid, () => state.has(client));
  const neighbour = await onServer(other, "same", pid, () => state.has(other));
  await close(client);
  const next = await track("transaction");
  const left = await onServer(next, "same", pid, () => state.has(next));
  await close(other, next);
  // Server connections without anything, for the next state.
  expect(await reconnect(docker(), poolerOf({ stack: own.stack, pgbouncerBindCertificates: false }))).toBeUndefined();
  expect(left, "the same after the client left").toBe(neighbour);
  if (neighbour) return LEAKS;
  expect(moved, "the same on every server connection").toBe(here);
  return here ? FOLLOWS : ENDS;
}

/** Who has it where a client has a server connection of its own: the client, and whoever comes after it. */
async function inSessionMode(mode: "session" | "direct", state: State): Promise<string> {
  const client = await track(mode);
  const pid = await leave(client, state);
  await begin(client);
  const here = await state.has(client);
  await client.query("rollback");
  await close(client);
  await eventually(async () => {
    const next = await track(mode);
    const after = await begin(next);
    const left = await state.has(next);
    await close(next);
    if (mode === "session") expect(after).toBe(pid);
    expect(left).toBe(false);
  });
  return here ? FOLLOWS : ENDS;
}

async function look(column: string, by: (state: State) => Promise<string>): Promise<void> {
  const found = new Map<string, string>();
  for (const state of STATES) found.set(state.what, await by(state));
  seen.set(column, found);
}

test("app_user's statements have the stack's time-out in every mode; it ends the statement, not the session", async () => {
  for (const mode of ["transaction", "session", "direct"] as const) {
    const client = await track(mode);
    expect((await client.query("show statement_timeout")).rows, mode).toEqual([{ statement_timeout: "30s" }]);
    await client.query("begin; set local statement_timeout = '10ms'");
    expect(await refusal(client.query("select pg_sleep(60)")), mode).toMatch(/^57014: /);
    await client.query("rollback; begin; set local statement_timeout = '2min'");
    expect((await client.query("show statement_timeout")).rows, mode).toEqual([{ statement_timeout: "2min" }]);
    await client.query("rollback");
    await close(client);
    expect(await query("app_readonly", mode, "show statement_timeout", own)).toEqual([{ statement_timeout: "0" }]);
  }
});

describe("what a client leaves behind", () => {
  test("in transaction mode", () => look("transaction", inTransactionMode));
  test("in session mode and by a direct connection: the same, and nothing to the next client", async () => {
    await look("session", (state) => inSessionMode("session", state));
    await look("direct", (state) => inSessionMode("direct", state));
    expect(seen.get("session")).toEqual(seen.get("direct"));
  });

  test("in transaction mode with pgbouncerResetAfterTransaction, which a reload puts into force: nothing", async () => {
    const started = await own.started();
    own.settings({ ...SETTINGS, pgbouncerResetAfterTransaction: true });
    mustSucceed(await own.up());
    expect(await own.started()).toEqual(started);
    await look("reset", inTransactionMode);
    expect([...(seen.get("reset") ?? []).values()]).not.toContain(LEAKS);
    // A statement of a client's own, under a name by which PgBouncer calls those that it prepares for drivers.
    const disguised = {
      what: "`PREPARE` under the pooler's name",
      leave: sql('prepare "PGBOUNCER_99" as select 1'),
      has: yes("exists (select from pg_prepared_statements where name = 'PGBOUNCER_99')"),
    };
    expect(await inTransactionMode(disguised)).toBe(ENDS);
    // Session mode has the same reset query, when a client leaves.
    await look("session, reset", (state) => inSessionMode("session", state));
    expect(seen.get("session, reset")).toEqual(seen.get("session"));
  });

  test("is what docs/pooler.md says", async () => {
    const columns = ["transaction", "reset", "session", "direct"].map((name) => seen.get(name));
    const rows = STATES.map(({ what }) => [what, ...columns.map((column) => column?.get(what) ?? "")]);
    const head = ["What a client leaves", "transaction", "transaction, with reset", "session", "direct"];
    const table = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
    const page = readFileSync(PAGE, "utf8");
    const [before, after] = [page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)];
    await expect(`${page.slice(0, before)}\n\n${table}\n\n${page.slice(after)}`).toMatchFileSnapshot(PAGE);
  });
});

test("a freeze reaches the pooler's clients once the pooler was restarted, as docs/pooler.md says", async () => {
  const bySuperuser = (text: string) => query("postgres", "direct", text, own);
  const frozen = async (client: pg.Client) => (await client.query("show transaction_read_only")).rows;
  const before = await track("transaction");
  expect(await frozen(before)).toEqual([{ transaction_read_only: "off" }]);
  await bySuperuser("alter database ai_workflow_db set default_transaction_read_only = on");
  expect(await frozen(before)).toEqual([{ transaction_read_only: "off" }]);
  await close(...opened);
  await docker().getContainer(containerName("pgbouncer", own.stack)).restart();
  for (const mode of ["transaction", "session"] as const) {
    const client = await eventually(() => track(mode));
    expect(await frozen(client), mode).toEqual([{ transaction_read_only: "on" }]);
    await close(client);
  }
  await bySuperuser("begin read write; alter database ai_workflow_db reset default_transaction_read_only; commit");
});
