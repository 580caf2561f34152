import type Docker from "dockerode";
import { messageOf } from "../../../base/errors.ts";
import { ROLES } from "../../../database/access/roles.ts";
import { PGBOUNCER_SOCKET_DIR } from "./ini.ts";
import type { Pooler } from "../../settings/listeners.ts";
import { exec, inspect } from "../../../toolchain/engine/containers.ts";

/**
 * A command inside PgBouncer's container: psql at the console of the process that listens on a port, as its own account.
 *
 * @param layout further arguments of psql, such as `-t` for rows without their names
 */
export function pgbouncerConsole(port: number, command: string, ...layout: readonly string[]): string[] {
  const fixed = `psql -XAq -v ON_ERROR_STOP=1 -h ${PGBOUNCER_SOCKET_DIR} -p ${port} -U ${ROLES.pooler} -d pgbouncer`;
  return [...fixed.split(" "), ...layout, "-c", command];
}

/**
 * Has PgBouncer make new server connections as the old ones are released; no client is cut off. Old ones keep the plans of
 * statements that clients prepared, and after a change of a table's columns every new client that prepares the same statement
 * is refused: `cached plan must not change result type`.
 *
 * @returns what kept a process from doing it, also where the engine did not answer; undefined where all did, or the pooler
 *   does not run. Never throws: whoever calls has done something that stays done.
 */
export async function reconnect(
  docker: Docker,
  { container, ports }: Pooler,
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    if ((await inspect(docker, container, signal))?.State.Running !== true) return undefined;
    for (const port of ports) {
      const command = pgbouncerConsole(port, "RECONNECT");
      const { exitCode, stderr } = await exec(docker, container, command, undefined, signal);
      if (exitCode !== 0) return stderr.trim() || `psql ended with ${exitCode}`;
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
