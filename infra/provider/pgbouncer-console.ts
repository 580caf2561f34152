import { ROLES } from "../names.ts";
import { PGBOUNCER_SOCKET_DIR } from "../render/pgbouncer-ini.ts";

/**
 * A command inside PgBouncer's container: psql at the console of the process that listens on a port, as its own account.
 *
 * @param layout further arguments of psql, such as `-t` for rows without their names
 */
export function pgbouncerConsole(port: number | string, command: string, ...layout: readonly string[]): string[] {
  const fixed = `psql -XAq -v ON_ERROR_STOP=1 -h ${PGBOUNCER_SOCKET_DIR} -p ${port} -U ${ROLES.pooler} -d pgbouncer`;
  return [...fixed.split(" "), ...layout, "-c", command];
}
