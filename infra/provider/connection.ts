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

/** A connected client; the server's name and chain are verified (verify-full). */
export async function connect(connection: Connection, applicationName = "ai-workflow-database"): Promise<pg.Client> {
  const { default: postgres } = await import("pg"); // here, because a preview of a stack at rest connects to nothing
  const client = new postgres.Client({
    host: connection.host,
    port: connection.port,
    database: connection.database,
    user: connection.user,
    password: connection.password,
    application_name: applicationName,
    connectionTimeoutMillis: 15_000,
    ssl: {
      ca: readFileSync(connection.sslRootCert, "utf8"),
      cert: readFileSync(connection.sslCert, "utf8"),
      key: readFileSync(connection.sslKey, "utf8"),
      rejectUnauthorized: true,
      minVersion: "TLSv1.2",
    },
  });
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

/** Runs `work` with a connection that is closed whatever happens. */
export async function withConnection<T>(connection: Connection, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(connection);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
