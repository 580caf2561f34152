import type Docker from "dockerode";
import { messageOf } from "../../../base/errors.ts";
import { ROLES } from "../../../database/access/roles.ts";
import { PGBOUNCER_SOCKET_DIR } from "./ini.ts";
import type { Pooler } from "../../settings/listeners.ts";
import { exec, inspect } from "../../../toolchain/engine/containers.ts";

/**
 * A command inside PgBouncer's container: psql at the console of the process that listens on `port`. It runs as the
 * process's own account.
 *
 * @param layout further arguments of psql, such as `-t` for rows without their names
 */
export function pgbouncerConsole(port: number, command: string, ...layout: readonly string[]): string[] {
  const fixed = `psql -XAq -v ON_ERROR_STOP=1 -h ${PGBOUNCER_SOCKET_DIR} -p ${port} -U ${ROLES.pooler} -d pgbouncer`;
  return [...fixed.split(" "), ...layout, "-c", command];
}

/**
 * Makes PgBouncer replace its server connections as they are released. No client is cut off. Old connections keep plans
 * of statements that clients prepared. After a change of a table's columns, a new client that prepares the same
 * statement would be refused: `cached plan must not change result type`.
 *
 * @returns why a process did not do it, or why the engine did not answer; undefined where all did, or the pooler does
 *   not run. Never throws: its callers have done something that stays done.
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
