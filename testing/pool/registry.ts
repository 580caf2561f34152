import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { availableParallelism, hostname } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { SESSION_OPTIONS } from "../../database/connection.ts";
import { ENVIRONMENT_SETTING } from "../../database/environment.ts";
import { hasCode, messageOf, StateError } from "../../base/errors.ts";
import { keepProcessAlive } from "../../base/node-postgres.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { adminConfig, nameOption, type TestServer } from "../description/server.ts";

/** The database in which all processes keep account. */
export const REGISTRY_DATABASE = "aiwdb_testdb";

/** First numbers of the advisory locks in registry-schema.sql. */
export const LOCK = { lease: 1, build: 2, keeper: 3 } as const;

/**
 * Databases one process makes or empties at the same time. More than there are cores gains nothing, and CREATE DATABASE
 * waits for checkpoints, which are the server's one at a time.
 */
export const WORKERS = Math.min(4, Math.max(2, availableParallelism()));

const DATABASE_MISSING = "3D000";
const DATABASE_EXISTS = "42P04";

/** A database that is copied for each test. */
export interface Template {
  readonly key: string;
  readonly database: string;
}

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
 * Refuses every server whose own database does not say that it is for tests, and every one that has a production
 * database.
 */
async function refuseForeign(client: pg.Client, server: TestServer): Promise<void> {
  const mark = (await readMarks(client)).get(server.database);
  if (mark === "test") return;
  throw new StateError("This server is not marked as one for tests; nothing has been done to it.", {
    subject: server.database,
    problem: `${ENVIRONMENT_SETTING} is ${mark === undefined ? "not set" : `"${mark}"`}, not "test"`,
    remedy: OWN_SERVER,
  });
}
const OWN_SERVER = "Use a server of its own: `npx aiwdb testdb start`.";

/**
 * The mark of each database that has one. Read from the catalogue: a client's own settings can not pretend anything.
 *
 * @throws StateError when a database is marked production
 */
async function readMarks(client: pg.Client): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ database: string; mark: string }>(
    `select datname as database, substring(option from '=(.*)$') as mark
       from pg_catalog.pg_db_role_setting
       join pg_catalog.pg_database on pg_database.oid = setdatabase
      cross join lateral unnest(setconfig) as option
      where setrole = 0 and option like $1`,
    [`${ENVIRONMENT_SETTING}=%`],
  );
  const production = rows.filter(({ mark }) => mark === "production").map(({ database }) => database);
  if (production.length > 0) {
    throw new StateError("This server is marked production; nothing has been done to it.", {
      subject: production.join(", "),
      problem: `${ENVIRONMENT_SETTING} is "production", and tests create, empty and drop databases`,
      remedy: OWN_SERVER,
    });
  }
  return new Map(rows.map(({ database, mark }) => [database, mark]));
}

/** SQLSTATE of `testdb.refuse_production()`. */
const MARKED_PRODUCTION = "AIWDB";

/** The error of a take, in the user's terms. */
export function explainTake(error: unknown): unknown {
  return hasCode(error, MARKED_PRODUCTION) ? new StateError(messageOf(error), [], { cause: error }) : error;
}

/**
 * Refuses to have a server removed that is marked production; one that is gone, or never answers, has no mark to read.
 *
 * @throws StateError when it is marked so
 * @throws what it says, when it answers and lets nobody read its marks
 */
export async function refuseRemoval(server: TestServer): Promise<void> {
  const client = new pg.Client({ ...adminConfig(server, "postgres"), connectionTimeoutMillis: 3_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await readMarks(client);
  } catch (error) {
    // The last one is node-postgres' own, without a code.
    if (!hasCode(error, "ECONNREFUSED", "ETIMEDOUT") && !/timeout expired/.test(messageOf(error))) throw error;
  } finally {
    client.end().catch(() => {}); // not awaited: after a refusal inside TLS it never settles
  }
}

/**
 * Every commit of the registry reaches the operating system before it is answered, against the server's setting: a
 * crash of one backend makes the server forget what lies in its own memory, and a database that was handed out would be
 * ready again. Costs a write without a sync. https://www.postgresql.org/docs/16/wal-async-commit.html
 *
 * Nobody waits for ever for a database somebody else has locked. The rest is what a test may have set for all roles:
 * without it, nobody could come in to take that back. A client's settings go before those of its role.
 */
const OPTIONS = [
  SESSION_OPTIONS,
  "synchronous_commit=on",
  "lock_timeout=10s",
  "default_transaction_read_only=off",
  "session_replication_role=origin",
  "session_preload_libraries=",
  "search_path=public",
  "role=none",
].join(" -c ");

async function connectAdmin(server: TestServer, database: string): Promise<pg.Client> {
  // `aiwdb testdb list` shows it as the holder.
  const client = new pg.Client({
    ...adminConfig(server, database),
    application_name: `process ${process.pid} on ${hostname()}`,
    options: OPTIONS,
  });
  client.on("error", () => {}); // a lost connection shows at the next statement
  client.on("notice", ({ message = "" }) => {
    if (message.startsWith("aiwdb: ")) process.stderr.write(`${message}\n`);
  });
  try {
    await client.connect();
    await refuseForeign(client, server);
    return client;
  } catch (error) {
    client.end().catch(() => {}); // not awaited: after a refusal inside TLS it never settles
    throw explainUnreachable(server, error);
  }
}

/** The server for tests does not answer: it is gone, or will answer in a moment. */
export class UnreachableError extends StateError {}

/** What Node says of the server's certificate, and the server of the client's. */
export const CERTIFICATE_EXPIRED = ["CERT_HAS_EXPIRED", "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED"] as const;
const UNREACHABLE = "ECONNREFUSED ECONNRESET EPIPE ETIMEDOUT ENOENT 28P01 28000 57P01 57P02 57P03".split(" ");

function explainUnreachable({ name, engine, direct: { host, port } }: TestServer, cause: unknown): unknown {
  const problem = messageOf(cause);
  const subject = `${host}:${port}`;
  const start = `\`npx aiwdb testdb start${nameOption(name)}\``;
  if (hasCode(cause, ...CERTIFICATE_EXPIRED)) {
    const remedy =
      engine === "local"
        ? `Renew them: ${start}. What is in it stays.`
        : `Renew them: \`npx aiwdb up --stack ${name}\`.`;
    const summary = `The certificates of the server for tests "${name}" have expired.`;
    return new StateError(summary, { subject, problem, remedy }, { cause });
  }
  // Of node-postgres itself: a connection that was closed while it was being opened has no code.
  if (!hasCode(cause, ...UNREACHABLE) && !/Connection terminated|timeout expired/.test(problem)) return cause;
  const remedy = `Start it again: ${start}. If it is gone, so is what was in it.`;
  const summary = `The server for tests "${name}" does not answer.`;
  return new UnreachableError(summary, { subject, problem, remedy }, { cause });
}

/** Connects to the registry; makes it on a server that has none yet. */
async function connectRegistry(server: TestServer): Promise<pg.Client> {
  try {
    return await connectAdmin(server, REGISTRY_DATABASE);
  } catch (error) {
    if (!hasCode(error, DATABASE_MISSING)) throw error;
  }
  const client = await connectAdmin(server, "postgres");
  try {
    // One at a time: CREATE DATABASE copies template1, and two would be in each other's way.
    await client.query("select pg_advisory_lock(7241865, 0)");
    await client.query(`create database ${REGISTRY_DATABASE}`);
    await client.query(`revoke all on database ${REGISTRY_DATABASE} from public`);
  } catch (error) {
    if (!hasCode(error, DATABASE_EXISTS)) throw error;
  } finally {
    await client.end();
  }
  return connectAdmin(server, REGISTRY_DATABASE);
}

async function ensureSchema(client: pg.Client, server: TestServer): Promise<void> {
  const schema = ["registry-roles.sql", "registry-schema.sql", "states.sql"]
    .map((file) => readFileSync(join(PACKAGE_ROOT, "testing/pool", file), "utf8"))
    .join("\n");
  const version = createHash("sha256").update(schema).digest("hex").slice(0, 16);
  // Not to_regclass: behind the lock below it would answer from what this session remembers.
  const sql =
    "select obj_description(oid, 'pg_namespace') as version from pg_catalog.pg_namespace where nspname = 'testdb'";
  const look = async () => (await client.query<{ version: string | null }>(sql)).rows[0];
  let found = await look();
  if (!found) {
    await client.query("begin; select pg_advisory_xact_lock(7241865, 1)");
    found = await look();
    if (!found) await client.query(`create schema testdb; ${schema}; comment on schema testdb is '${version}'`);
    await client.query("commit");
  }
  if (found && found.version !== version) {
    throw new StateError(`The server for tests "${server.name}" was started by another version of this package.`, {
      subject: REGISTRY_DATABASE,
      problem: "its tables and functions are not this version's",
      remedy: `Make it anew, with nothing in it: \`npx aiwdb testdb stop${nameOption(server.name)}\`, then \`start\`.`,
    });
  }
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
    await ensureSchema(client, server);
    const { rows } = await client.query<{ lease: number }>("select testdb.open_lease() as lease");
    client.on("end", () => (open = false));
    const workers = new pg.Pool({
      ...adminConfig(server, REGISTRY_DATABASE),
      options: OPTIONS,
      max: WORKERS + 2,
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
        keepProcessAlive(client, true);
        await workers.end();
        await client.end();
      },
    };
  } catch (error) {
    client.end().catch(() => {}); // not awaited: of a connection that was lost it may never settle
    throw error;
  }
}
