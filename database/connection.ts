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
}

/**
 * What a role, or the database's owner, may have set for every session must not stop ours half-way: a client's own settings go
 * before them. A freeze (`default_transaction_read_only`) is not among them: it is respected. PgBouncer passes over them.
 * https://www.postgresql.org/docs/16/runtime-config-client.html
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
  readonly applicationName?: string;
  /** After how long a query is given up, in ms; without it, never. */
  readonly queryTimeoutMs?: number;
}

/** A connected client; the server's name and chain are verified (verify-full). */
export async function connect(
  connection: Connection,
  { applicationName = "ai-workflow-database", queryTimeoutMs }: ConnectOptions = {},
): Promise<pg.Client> {
  const { default: postgres } = await import("pg"); // here, because a preview of a stack at rest connects to nothing
  const config = {
    host: connection.host,
    port: connection.port,
    database: connection.database,
    user: connection.user,
    password: connection.password,
    application_name: applicationName,
    options: SESSION_OPTIONS,
    connectionTimeoutMillis: 15_000,
    ...(queryTimeoutMs === undefined ? {} : { query_timeout: queryTimeoutMs }),
    ssl: {
      ca: readFileSync(connection.sslRootCert, "utf8"),
      cert: readFileSync(connection.sslCert, "utf8"),
      key: readFileSync(connection.sslKey, "utf8"),
      rejectUnauthorized: true,
      minVersion: "TLSv1.2" as const,
    },
  };
  const client = withoutLibpqVariables(() => new postgres.Client(config));
  client.on("error", () => {}); // a connection lost while idle shows at the next query, with a better message
  try {
    await client.connect();
  } catch (error) {
    // Not awaited: after a refusal inside TLS it never settles. The error above is the one to show.
    client.end().catch(() => {});
    throw error;
  }
  return client;
}

/** node-pg takes what is not given from the caller's environment, as PGOPTIONS, which are about the caller's own connections. */
function withoutLibpqVariables<T>(make: () => T): T {
  const kept = Object.entries(process.env).filter(([name]) => name.startsWith("PG"));
  for (const [name] of kept) delete process.env[name];
  try {
    return make();
  } finally {
    Object.assign(process.env, Object.fromEntries(kept));
  }
}

/** Runs `work` with a connection that is closed whatever happens. */
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
