import { readFileSync } from "node:fs";
import type pg from "pg";

/** How to reach a database as one role over mTLS. Certificates are paths of files, as libpq takes them. */
export interface Connection {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  readonly sslRootCert: string;
  readonly sslCert: string;
  readonly sslKey: string;
  /** Through PgBouncer, which refuses options that it cannot give each client of a server connection. */
  readonly pooled?: true;
}

/**
 * A role or the database's owner may have given every session time-outs and defaults. They must not stop ours half-way,
 * and a client's own settings win over them. A freeze (`default_transaction_read_only`) is not overruled.
 *
 * @see https://www.postgresql.org/docs/16/runtime-config-client.html
 */
export const SESSION_OPTIONS = [
  "statement_timeout=0",
  "lock_timeout=0",
  "idle_session_timeout=0",
  "idle_in_transaction_session_timeout=10min",
  "default_transaction_isolation=read\\ committed",
  "local_preload_libraries=",
  "standard_conforming_strings=on",
]
  .map((setting) => `-c ${setting}`)
  .join(" ");

export interface ConnectOptions {
  /** What the server's statistics and log call the client. @default ai-workflow-database */
  readonly applicationName?: string;
  /** A query that takes longer fails, in milliseconds. @default no limit */
  readonly queryTimeoutMs?: number;
}

/** A connection as node-postgres takes it. The server's name and chain are verified, as libpq's verify-full does. */
export function clientConfig(connection: Connection, applicationName: string): pg.ClientConfig {
  const { host, port, database, user, password } = connection;
  return {
    host,
    port,
    database,
    user,
    password,
    application_name: applicationName,
    connectionTimeoutMillis: 15_000,
    ssl: {
      // The name that the certificate must have. Older releases of node-postgres, which a test's own project may use,
      // pass on no address.
      host,
      ca: readFileSync(connection.sslRootCert, "utf8"),
      cert: readFileSync(connection.sslCert, "utf8"),
      key: readFileSync(connection.sslKey, "utf8"),
      rejectUnauthorized: true,
      minVersion: "TLSv1.2",
    },
  };
}

/** A connected client. */
export async function connect(
  connection: Connection,
  { applicationName = "ai-workflow-database", queryTimeoutMs }: ConnectOptions = {},
): Promise<pg.Client> {
  // Loaded here, because a preview of a stack without changes connects to nothing.
  const { default: postgres } = await import("pg");
  const config = {
    ...clientConfig(connection, applicationName),
    ...(connection.pooled ? {} : { options: SESSION_OPTIONS }),
    ...(queryTimeoutMs === undefined ? {} : { query_timeout: queryTimeoutMs }),
  };
  const client = withoutLibpqVariables(() => new postgres.Client(config));
  client.on("error", () => {}); // the next query on a lost connection fails with a better message
  try {
    await client.connect();
  } catch (error) {
    // Not awaited, since it never settles after a refusal inside TLS. Its own error says less than the one that is
    // thrown.
    client.end().catch(() => {});
    throw error;
  }
  return client;
}

/**
 * node-postgres fills in what it is not given from variables such as PGOPTIONS. The caller set those for other
 * connections.
 */
function withoutLibpqVariables<T>(make: () => T): T {
  const kept = Object.entries(process.env).filter(([name]) => name.startsWith("PG"));
  for (const [name] of kept) delete process.env[name];
  try {
    return make();
  } finally {
    Object.assign(process.env, Object.fromEntries(kept));
  }
}

/** Runs `work` with a connection, and closes it whatever happens. */
export async function withConnection<T>(
  connection: Connection,
  work: (client: pg.Client) => Promise<T>,
  options: ConnectOptions = {},
): Promise<T> {
  const client = await connect(connection, options);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
