import { maintenance } from "./maintenance/server.ts";
import { pgbouncer } from "./pgbouncer/server.ts";
import { postgres } from "./postgres/server.ts";
import type { Server } from "./server.ts";

/** All servers of a stack, by the name that a `VolumeFiles` resource has as its `service`. */
export const SERVERS = { postgres, pgbouncer, maintenance } as const satisfies Readonly<Record<string, Server>>;

export type ServerName = keyof typeof SERVERS;
