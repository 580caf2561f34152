import type { Connection } from "./connection.ts";

/**
 * Loopback by name: libpq before 15 compares a host with DNS names only, and 127.0.0.1 is an address in the certificate.
 * Clients go on to the next address where `localhost` is ::1 first and nobody listens there; a `hostaddr` would spare them
 * that, but many drivers hand parameters they do not know to the server, which refuses them.
 */
function hostName({ host }: Connection): string {
  return host === "127.0.0.1" ? "localhost" : host;
}

/** Everything but letters, digits and -._~: what else a URL may have, a shell or a file of variables may not. */
function percentEncode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A libpq URL that psql, node-postgres and psycopg take as it is. https://www.postgresql.org/docs/16/libpq-connect.html */
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
 * Every variable that libpq reads: https://www.postgresql.org/docs/16/libpq-envars.html. One of the caller's may lead elsewhere
 * (a service's values win over PGHOST), let others in or change what a server answers.
 */
const LIBPQ_VARIABLES = `
  PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE
  PGSYSCONFDIR PGREQUIREAUTH PGCHANNELBINDING PGOPTIONS PGAPPNAME PGREQUIREPEER PGSSLMODE PGREQUIRESSL
  PGSSLCOMPRESSION PGSSLCERT PGSSLKEY PGSSLCERTMODE PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR PGSSLSNI
  PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION PGGSSENCMODE PGKRBSRVNAME PGGSSLIB PGGSSDELEGATION
  PGCONNECT_TIMEOUT PGCLIENTENCODING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGDATESTYLE PGTZ PGGEQO
  PGLOCALEDIR
`
  .trim()
  .split(/\s+/);

/** For a process that shall see none of the caller's. */
export const NO_LIBPQ_VARIABLES: Readonly<Record<string, undefined>> = Object.fromEntries(
  LIBPQ_VARIABLES.map((name) => [name, undefined]),
);

/** The variables libpq reads, and DATABASE_URL; undefined for those that must not be set. */
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
