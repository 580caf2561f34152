import { words } from "../base/words.ts";
import type { Connection } from "./connection.ts";

/**
 * Loopback by its name. libpq before 15 compares a host with the DNS names of a certificate only, and the certificate
 * has 127.0.0.1 as an address. Where `localhost` means ::1 first, clients go on to the next address. A `hostaddr` would
 * spare them that, but many drivers send parameters that they do not know to the server, which refuses them.
 */
export function hostName({ host }: Connection): string {
  return host === "127.0.0.1" ? "localhost" : host;
}

/** Encodes everything but letters, digits and -._~. A URL may have more, but a shell or a file of variables may not. */
function percentEncode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * A URL that psql, node-postgres and psycopg take as it is.
 *
 * @see https://www.postgresql.org/docs/16/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
export function libpqUrl(connection: Connection): string {
  const url = new URL(
    `postgresql://${hostName(connection)}:${connection.port}/${encodeURIComponent(connection.database)}`,
  );
  url.username = percentEncode(connection.user);
  url.password = percentEncode(connection.password);
  const parameters = {
    sslmode: "verify-full",
    sslrootcert: connection.sslRootCert,
    sslcert: connection.sslCert,
    sslkey: connection.sslKey,
  };
  // Spaces as %20: libpq does not read "+".
  const query = Object.entries(parameters).map(
    ([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2F", "/")}`,
  );
  return `${url.href}?${query.join("&")}`;
}

/**
 * Every variable that libpq reads. One of the caller's could lead to another server (a service's values win over
 * PGHOST), weaken the checks of the server, or change what it answers.
 *
 * @see https://www.postgresql.org/docs/16/libpq-envars.html
 */
const LIBPQ_VARIABLES = words(`
  PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE
  PGSYSCONFDIR PGREQUIREAUTH PGCHANNELBINDING PGOPTIONS PGAPPNAME PGREQUIREPEER PGSSLMODE PGREQUIRESSL
  PGSSLCOMPRESSION PGSSLCERT PGSSLKEY PGSSLCERTMODE PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR PGSSLSNI
  PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION PGGSSENCMODE PGKRBSRVNAME PGGSSLIB PGGSSDELEGATION
  PGCONNECT_TIMEOUT PGCLIENTENCODING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGDATESTYLE PGTZ PGGEQO
  PGLOCALEDIR
`);

/** Takes all of them out of a child process' environment. */
export const NO_LIBPQ_VARIABLES: Readonly<Record<string, undefined>> = Object.fromEntries(
  LIBPQ_VARIABLES.map((name) => [name, undefined]),
);

/** The variables that libpq reads, and DATABASE_URL. One that must not be set is undefined. */
export function libpqEnvironment(connection: Connection): Record<string, string | undefined> {
  return {
    ...NO_LIBPQ_VARIABLES,
    PGHOST: hostName(connection),
    PGPORT: String(connection.port),
    PGDATABASE: connection.database,
    PGUSER: connection.user,
    PGPASSWORD: connection.password,
    PGSSLMODE: "verify-full",
    PGSSLROOTCERT: connection.sslRootCert,
    PGSSLCERT: connection.sslCert,
    PGSSLKEY: connection.sslKey,
    DATABASE_URL: libpqUrl(connection),
  };
}

/**
 * A line of .pgpass for one role at any server. Colons and backslashes are escaped.
 *
 * @see https://www.postgresql.org/docs/16/libpq-pgpass.html
 */
export function pgpassLine(role: string, password: string): string {
  const escape = (text: string) => text.replaceAll("\\", "\\\\").replaceAll(":", "\\:");
  return `*:*:*:${escape(role)}:${escape(password)}\n`;
}
