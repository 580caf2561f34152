import { rmSync } from "node:fs";
import type pg from "pg";
import { type ClientRole, POOLED_ROLES, ROLES } from "../../database/access/roles.ts";
import { clientConfig, type Connection, withConnection } from "../../database/connection.ts";
import { StateError, UsageError } from "../../base/errors.ts";
import { readIfThere, replaceFile } from "../../base/text-file.ts";
import { serverFiles } from "./files.ts";

/** The server that is meant when nothing else is said. */
export const DEFAULT_SERVER = "ci-local";

/** Which server to use: the name of one, as `aiwdb testdb start --name` gave it. */
export const SERVER_VARIABLE = "AIWDB_TESTDB_SERVER";

/** `container` or `local`: how a server is started where none runs. Default: container. */
export const ENGINE_VARIABLE = "AIWDB_TESTDB_ENGINE";

/** Directly to PostgreSQL, or through PgBouncer in transaction mode. */
export type TestMode = "direct" | "transaction";

type Address = Readonly<Pick<Connection, "host" | "port">>;

/** What a role logs in with. Certificates are paths of files. */
export type Credentials = Readonly<Pick<Connection, "password" | "sslRootCert" | "sslCert" | "sslKey">>;

/** All that is needed to use a server for tests. Written by `aiwdb testdb start`, readable by its user only. */
export interface TestServer {
  /** Name of the stack: `ci-…`. */
  readonly name: string;
  readonly engine: "container" | "local";
  /** The stack's own database, which carries the mark that the server is for tests. */
  readonly database: string;
  readonly direct: Address;
  /** PgBouncer; absent where there is none. */
  readonly transaction?: Address;
  /** By pooled role, PgBouncer's port for it where each has its own. */
  readonly rolePorts?: Readonly<Record<string, number>>;
  readonly roles: Readonly<Record<ClientRole, Credentials>>;
  /** What the servers were made from; part of every template's key. */
  readonly images: readonly string[];
  /** Extensions of every template, as of the stack's own database. A description of an older release has none. */
  readonly extensions?: readonly string[];
}

/** Makes a server known to every process of this user. */
export function writeServer(server: TestServer): void {
  replaceFile(serverFiles(server.name).description, `${JSON.stringify(server, null, 2)}\n`);
}

/** ` --name …` for a command that is printed, where the server is not the one a command without it would mean. */
export function nameOption(name: string): string {
  return name === DEFAULT_SERVER ? "" : ` --name ${name}`;
}

/** Forgets a server that is gone. */
export function forgetServer(name: string): void {
  for (const file of Object.values(serverFiles(name))) rmSync(file, { force: true });
}

/**
 * The server of that name; by default the one `AIWDB_TESTDB_SERVER` names, else `ci-local`.
 *
 * @throws StateError when none of that name was started by this user
 */
export function readServer(name: string = process.env[SERVER_VARIABLE] || DEFAULT_SERVER): TestServer {
  const description = readIfThere(serverFiles(name).description);
  if (description === undefined) {
    throw new StateError("There is no server for tests.", {
      subject: name,
      problem: "was not started by this user on this machine",
      remedy: `Start it: \`npx aiwdb testdb start${nameOption(name)}\`.`,
    });
  }
  return JSON.parse(description) as TestServer;
}

/**
 * How a role connects to a database of the server.
 *
 * @throws UsageError for a role or mode there is not, for a role the pooler does not let in, and where there is no
 *   pooler
 */
export function connectionTo(server: TestServer, database: string, role: ClientRole, mode: TestMode): Connection {
  if (mode !== "direct" && mode !== "transaction") {
    throw new UsageError("There is no such mode.", { subject: "mode", problem: "must be direct or transaction" });
  }
  if (!Object.hasOwn(server.roles, role)) {
    const known = Object.keys(server.roles).join(", ");
    throw new UsageError("There is no such role.", { subject: "role", problem: `must be one of ${known}` });
  }
  const address = server[mode];
  if (!address) {
    throw new UsageError(`Server "${server.name}" has no pooler.`, {
      subject: "mode",
      problem: "transaction needs PgBouncer",
      remedy: 'Use mode "direct".',
    });
  }
  if (mode === "transaction" && !(POOLED_ROLES as readonly string[]).includes(role)) {
    throw new UsageError(`${role} does not come through the pooler.`, {
      subject: "mode",
      problem: "transaction is the pooler's",
      remedy: 'Use mode "direct".',
    });
  }
  const port = (mode === "transaction" ? server.rolePorts?.[role] : undefined) ?? address.port;
  return { ...address, port, database, user: role, ...server.roles[role] };
}

/** Does work in a database of the server, as its superuser. */
export function asSuperuser<T>(
  server: TestServer,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const connection = connectionTo(server, database, ROLES.superuser, "direct");
  return withConnection(connection, work, { applicationName: "aiwdb testdb" });
}

/** The superuser's connection, for making and removing databases. */
export function adminConfig(server: TestServer, database: string): pg.ClientConfig {
  return clientConfig(connectionTo(server, database, ROLES.superuser, "direct"), "aiwdb testdb");
}
