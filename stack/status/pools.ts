import type Docker from "dockerode";
import { ROLES } from "../../database/access/roles.ts";
import type { StackOutputs } from "../session.ts";
import { showAtPooler } from "./pooler-console.ts";

export type PoolStatus = ReturnType<typeof poolOf>;

/** The pools of every database and role but the pooler's own console. */
export async function poolStatus(docker: Docker, outputs: StackOutputs): Promise<PoolStatus[]> {
  const shown = await showAtPooler(docker, outputs, "show pools");
  // A listener refuses a role that is not its own, and still lists an empty pool for it.
  const rows = shown.flatMap(({ listener, rows: all }) =>
    all.filter(({ user }) => [...listener.roles, ROLES.pooler].some((role) => role === user)),
  );
  return rows.filter(({ database }) => database !== "pgbouncer").map(poolOf);
}

/** A row of `show pools`. Connections that have to be checked before their next use (`sv_used`) are idle too. */
export function poolOf(row: Readonly<Record<string, string>>) {
  return {
    database: row["database"] ?? "",
    role: row["user"] ?? "",
    mode: row["pool_mode"] ?? "",
    clientsActive: Number(row["cl_active"]),
    clientsWaiting: Number(row["cl_waiting"]),
    serversActive: Number(row["sv_active"]),
    serversIdle: Number(row["sv_idle"]) + Number(row["sv_used"]),
  };
}
