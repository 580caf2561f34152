import type { Connection } from "../../infra/provider/connection.ts";

/** A libpq URL that psql, node-postgres and psycopg take as it is. https://www.postgresql.org/docs/16/libpq-connect.html */
export function libpqUrl(connection: Connection): string {
  const url = new URL(`postgresql://${connection.host}:${connection.port}/${encodeURIComponent(connection.database)}`);
  url.username = encodeURIComponent(connection.user);
  url.password = encodeURIComponent(connection.password);
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

/** The variables libpq reads, and DATABASE_URL. https://www.postgresql.org/docs/16/libpq-envars.html */
export function libpqEnvironment(connection: Connection): Record<string, string> {
  return {
    PGHOST: connection.host,
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
