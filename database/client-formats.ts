import type { Connection } from "./connection.ts";
import { hostName, libpqUrl } from "./libpq.ts";

/** What a driver is given to connect. */
export interface ClientForm {
  /**
   * The driver's own URL or connection string. It has the password, except for `jdbc`. The driver reads the
   * certificates by it, except for `postgres.js`.
   */
  readonly url: string;
  /** What a user pastes or saves: lines without the last line's end. It has the password. */
  readonly text: string;
}

/** How each format is made. Drivers that take libpq's URL with its paths of PEM files as it is share one form. */
const FORMS = {
  libpq: asLibpq,
  jdbc: forJdbc,
  sqlalchemy: forSqlalchemy,
  asyncpg: asLibpq,
  "node-postgres": asLibpq,
  "postgres.js": forPostgresJs,
  go: asLibpq,
  rust: asLibpq,
  dotnet: forDotnet,
} as const satisfies Readonly<Record<string, (connection: Connection) => ClientForm>>;

export type ClientFormat = keyof typeof FORMS;
export const CLIENT_FORMATS = Object.keys(FORMS) as readonly ClientFormat[];

/** A connection as the drivers of one format take it. Each form asks for TLS with a verified server, by chain and name. */
export function clientForm(connection: Connection, format: ClientFormat): ClientForm {
  return FORMS[format](connection);
}

function asLibpq(connection: Connection): ClientForm {
  const url = libpqUrl(connection);
  return { url, text: url };
}

/** psycopg is the driver that takes libpq's parameters in SQLAlchemy's URL, for engines of both kinds. */
function forSqlalchemy(connection: Connection): ClientForm {
  const url = libpqUrl(connection).replace("postgresql:", "postgresql+psycopg:");
  return { url, text: url };
}

/**
 * The properties of a HikariCP data source. The password is not in the URL, because the driver and java.sql print whole
 * URLs in exceptions. pgjdbc takes a key as PEM when the name of its file ends in `.key` and it is told the algorithm.
 *
 * @see https://jdbc.postgresql.org/documentation/use/#connection-parameters
 */
function forJdbc(connection: Connection): ClientForm {
  const { search, pathname } = new URL(libpqUrl(connection));
  const url = `jdbc:postgresql://${hostName(connection)}:${connection.port}${pathname}${search}&pemKeyAlgorithm=EC`;
  const properties = { jdbcUrl: url, username: connection.user, password: connection.password };
  return {
    url,
    text: Object.entries(properties)
      .map(([name, value]) => `${name}=${propertyValue(value)}`)
      .join("\n"),
  };
}

/**
 * A value in a file of Java properties.
 *
 * @see https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/Properties.html#load(java.io.Reader)
 */
function propertyValue(text: string): string {
  return text.replaceAll("\\", "\\\\").replace(/^ /, "\\ ");
}

/**
 * A module that exports `sql`. postgres.js sends parameters of a URL that it does not know to the server, so that the
 * certificates can't be in one. It passes no host to TLS when that is an address, and TLS would verify another name.
 *
 * @see https://github.com/porsager/postgres#ssl
 */
function forPostgresJs(connection: Connection): ClientForm {
  const url = new URL(libpqUrl(connection));
  url.search = "";
  const literal = (value: string | number) => JSON.stringify(value);
  const file = (path: string) => `readFileSync(${literal(path)})`;
  const host = literal(hostName(connection));
  const lines = [
    'import { readFileSync } from "node:fs";',
    'import postgres from "postgres";',
    "",
    "export const sql = postgres({",
    `  host: ${host},`,
    `  port: ${connection.port},`,
    `  database: ${literal(connection.database)},`,
    `  username: ${literal(connection.user)},`,
    `  password: ${literal(connection.password)},`,
    "  ssl: {",
    `    host: ${host},`,
    `    ca: ${file(connection.sslRootCert)},`,
    `    cert: ${file(connection.sslCert)},`,
    `    key: ${file(connection.sslKey)},`,
    "  },",
    "});",
  ];
  return { url: url.href, text: lines.join("\n") };
}

/**
 * A connection string for Npgsql.
 *
 * @see https://www.npgsql.org/doc/connection-string-parameters.html
 */
function forDotnet(connection: Connection): ClientForm {
  const parameters = {
    Host: hostName(connection),
    Port: String(connection.port),
    Database: connection.database,
    Username: connection.user,
    Password: connection.password,
    "SSL Mode": "VerifyFull",
    "Root Certificate": connection.sslRootCert,
    "SSL Certificate": connection.sslCert,
    "SSL Key": connection.sslKey,
  };
  const url = Object.entries(parameters)
    .map(([name, value]) => `${name}=${connectionStringValue(value)}`)
    .join(";");
  return { url, text: url };
}

/**
 * A value in a connection string, in double quotes where it has more than the usual characters.
 *
 * @see https://learn.microsoft.com/dotnet/api/system.data.common.dbconnectionstringbuilder
 */
function connectionStringValue(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`;
}
