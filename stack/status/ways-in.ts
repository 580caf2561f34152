import { messageOf } from "../../base/errors.ts";
import { type ClientRole, POOLED_ROLES, ROLES } from "../../database/access/roles.ts";
import type { ConnectionInfo } from "../../infra/database-stack.ts";
import { connectionFor, MODES, type Mode } from "../connections.ts";
import type { StackOutputs } from "../session.ts";
import { ask } from "./look.ts";

export interface ConnectionStatus {
  readonly mode: Mode;
  /** Who came in so; where certificates are bound to roles, each has a port of its own. */
  readonly role: ClientRole;
  readonly address: string;
  /** TLS version of the hop to PostgreSQL, or why there is none. */
  readonly tls: string | null;
  readonly error?: string;
}

/** Connects in every way: as the application in each mode, and as every role that has a port of its own. */
export function tryWaysIn(outputs: StackOutputs): Promise<ConnectionStatus[]> {
  return Promise.all(waysIn(outputs.connections).map(([mode, role]) => tryConnection(outputs, mode, role)));
}

function waysIn({ rolePorts }: ConnectionInfo): [Mode, ClientRole][] {
  const others = rolePorts ? POOLED_ROLES.filter((role) => role !== ROLES.app) : [];
  return [
    ...MODES.map((mode): [Mode, ClientRole] => [mode, ROLES.app]),
    ...others.map((role): [Mode, ClientRole] => ["transaction", role]),
  ];
}

async function tryConnection(outputs: StackOutputs, mode: Mode, role: ClientRole): Promise<ConnectionStatus> {
  const connection = connectionFor(outputs, role, mode);
  const address = `${connection.host}:${connection.port}/${connection.database}`;
  try {
    const { rows } = await ask(connection, (client) =>
      client.query("select version from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()"),
    );
    return { mode, role, address, tls: (rows[0] as { version: string | null }).version };
  } catch (error) {
    return { mode, role, address, tls: null, error: messageOf(error) };
  }
}
