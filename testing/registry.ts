import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import pg from "pg";
import { ENVIRONMENT_SETTING } from "../infra/names.ts";
import { StateError } from "../toolchain/errors.ts";
import { adminConfig, type TestServer } from "./server.ts";

/** The database in which all processes keep account. */
export const REGISTRY_DATABASE = "aiwdb_testdb";

/** First numbers of the advisory locks in registry-schema.sql. */
export const LOCK = { lease: 1, build: 2, keeper: 3 } as const;

const DATABASE_MISSING = "3D000";
const DATABASE_EXISTS = "42P04";

/** What a process needs to make, take and remove test databases: its lease, and connections as the superuser. */
export interface Registry {
  readonly server: TestServer;
  /** Number of the advisory lock that ends with this process. */
  readonly lease: number;
  /** Holds the lease. Use `query`, which keeps callers apart. */
  readonly client: pg.Client;
  /** One short statement on the lease's connection, after those that were asked for before. */
  query<Row extends pg.QueryResultRow>(
    statement: string | pg.QueryConfig,
    values?: unknown[],
  ): Promise<pg.QueryResult<Row>>;
  /** For CREATE and DROP DATABASE, so that nobody's take waits behind them. */
  readonly workers: pg.Pool;
  /** False once the connection that holds the lease is lost, and with it every claim of this process. */
  isOpen(): boolean;
  close(): Promise<void>;
}

/**
 * Refuses every server whose own database does not say that it is for tests, and every one that has a database marked
 * production. Read from the catalogue: a client's own settings can not pretend anything.
 */
async function refuseForeign(client: pg.Client, server: TestServer): Promise<void> {
  const { rows } = await client.query<{ database: string; mark: string }>(
    `select datname as database, substring(option from '=(.*)$') as mark
       from pg_catalog.pg_db_role_setting
       join pg_catalog.pg_database on pg_database.oid = setdatabase
      cross join lateral unnest(setconfig) as option
      where setrole = 0 and option like $1`,
    [`${ENVIRONMENT_SETTING}=%`],
  );
  const production = rows.filter(({ mark }) => mark === "production");
  if (production.length > 0) {
    throw new StateError("This server is marked production; nothing has been done to it.", [
      {
        subject: production.map(({ database }) => database).join(", "),
        problem: `${ENVIRONMENT_SETTING} is "production", and tests create, empty and drop databases`,
        remedy: "Use a server of its own: `npx aiwdb testdb start`.",
      },
    ]);
  }
  const own = rows.find(({ database }) => database === server.database);
  if (own?.mark !== "test") {
    throw new StateError("This server is not marked as one for tests; nothing has been done to it.", [
      {
        subject: server.database,
        problem: `${ENVIRONMENT_SETTING} is ${own ? `"${own.mark}"` : "not set"}, not "test"`,
        remedy: "Use a server of its own: `npx aiwdb testdb start`.",
      },
    ]);
  }
}

async function connectAdmin(server: TestServer, database: string): Promise<pg.Client> {
  // `aiwdb testdb list` shows it as the holder.
  const client = new pg.Client({
    ...adminConfig(server, database),
    application_name: `process ${process.pid} on ${hostname()}`,
  });
  client.on("error", () => {}); // a lost connection shows at the next statement
  try {
    await client.connect();
    await refuseForeign(client, server);
    return client;
  } catch (error) {
    client.end().catch(() => {}); // not awaited: after a refusal inside TLS it never settles
    throw explainUnreachable(server, error);
  }
}

function explainUnreachable(server: TestServer, error: unknown): unknown {
  const { code } = error as { code?: string };
  if (!["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "28P01", "28000", "ENOENT"].includes(code ?? "")) return error;
  return new StateError(
    `The server for tests "${server.name}" does not answer.`,
    [
      {
        subject: `${server.direct.host}:${server.direct.port}`,
        problem: (error as Error).message,
        remedy: `Start it again: \`npx aiwdb testdb start --name ${server.name}\`. What was in it is gone.`,
      },
    ],
    { cause: error },
  );
}

/** Connects to the registry; makes it on a server that has none yet. */
async function connectRegistry(server: TestServer): Promise<pg.Client> {
  try {
    return await connectAdmin(server, REGISTRY_DATABASE);
  } catch (error) {
    if ((error as { code?: string }).code !== DATABASE_MISSING) throw error;
  }
  const client = await connectAdmin(server, "postgres");
  try {
    // One at a time: CREATE DATABASE copies template1, and two would be in each other's way.
    await client.query("select pg_advisory_lock(7241865, 0)");
    await client.query(`create database ${REGISTRY_DATABASE}`);
    await client.query(`revoke all on database ${REGISTRY_DATABASE} from public`);
  } catch (error) {
    if ((error as { code?: string }).code !== DATABASE_EXISTS) throw error;
  } finally {
    await client.end();
  }
  return connectAdmin(server, REGISTRY_DATABASE);
}

async function ensureSchema(client: pg.Client): Promise<void> {
  // Not to_regclass: behind the lock below it would answer from what this session remembers.
  const look = "select exists (select from pg_catalog.pg_namespace where nspname = 'testdb') as present";
  const { rows } = await client.query<{ present: boolean }>(look);
  if (rows[0]?.present) return;
  await client.query("begin; select pg_advisory_xact_lock(7241865, 1)");
  const again = await client.query<{ present: boolean }>(look);
  if (!again.rows[0]?.present) {
    await client.query(readFileSync(new URL("registry-schema.sql", import.meta.url), "utf8"));
  }
  await client.query("commit");
}

/**
 * Opens the registry of a server and takes a lease in it.
 *
 * @throws StateError when the server does not answer, or is not one for tests
 */
export async function openRegistry(server: TestServer): Promise<Registry> {
  const client = await connectRegistry(server);
  let open = true;
  try {
    await ensureSchema(client);
    const { rows } = await client.query<{ lease: number }>("select testdb.open_lease() as lease");
    client.on("end", () => (open = false));
    const workers = new pg.Pool({
      ...adminConfig(server, REGISTRY_DATABASE),
      max: 4,
      idleTimeoutMillis: 10_000,
      allowExitOnIdle: true,
    });
    workers.on("error", () => {});
    let last: Promise<unknown> = Promise.resolve();
    return {
      server,
      query<Row extends pg.QueryResultRow>(statement: string | pg.QueryConfig, values?: unknown[]) {
        const next = last.then(() => client.query<Row>(statement as string, values));
        last = next.catch(() => {}); // its caller hears of it
        return next;
      },
      lease: (rows[0] as { lease: number }).lease,
      client,
      workers,
      isOpen: () => open,
      async close() {
        open = false;
        // Connections nobody waits for do not keep a process alive; this one does, until the others have ended.
        (client as unknown as { ref(): void }).ref();
        await workers.end();
        await client.end();
      },
    };
  } catch (error) {
    client.end().catch(() => {}); // not awaited: of a connection that was lost it may never settle
    throw error;
  }
}
