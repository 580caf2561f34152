import { messageOf } from "../../base/errors.ts";
import { type ClientRole, POOLED_ROLES, ROLES } from "../../database/access/roles.ts";
import { connectionFor, MODES, type Mode, serverConnectionsOf } from "../connections.ts";
import type { StackOutputs } from "../session.ts";
import { ask } from "./look.ts";

export interface ConnectionStatus {
  readonly mode: Mode;
  /** Where certificates are bound to roles, each role has a port of its own. */
  readonly role: ClientRole;
  readonly address: string;
  /** TLS version of the hop to PostgreSQL, or why there is none. */
  readonly tls: string | null;
  readonly error?: string;
  /** Server connections that the role's clients may have at the same time. Absent where they do not share any. */
  readonly serverConnections?: number;
}

/** Connects in every way: as the application in each mode, and as every role that has a port of its own. */
export function tryWaysIn(outputs: StackOutputs): Promise<ConnectionStatus[]> {
  const others = outputs.connections.rolePorts ? POOLED_ROLES.filter((role) => role !== ROLES.app) : [];
  return Promise.all([
    ...MODES.map((mode) => tryConnection(outputs, mode, ROLES.app)),
    ...others.map((role) => tryConnection(outputs, "transaction", role)),
  ]);
}

async function tryConnection(outputs: StackOutputs, mode: Mode, role: ClientRole): Promise<ConnectionStatus> {
  const connection = connectionFor(outputs, role, mode);
  const way = { mode, role, address: `${connection.host}:${connection.port}/${connection.database}` };
  const serverConnections = serverConnectionsOf(outputs, role, mode);
  try {
    const { rows } = await ask(connection, (client) =>
      client.query("select version from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()"),
    );
    return { ...way, tls: rows[0].version, ...(serverConnections === undefined ? {} : { serverConnections }) };
  } catch (error) {
    return { ...way, tls: null, error: messageOf(error) };
  }
}
