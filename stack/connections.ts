import { StateError } from "../base/errors.ts";
import type { Connection } from "../database/connection.ts";
import type { Report } from "../base/progress.ts";
import { setUp } from "../toolchain/set-up.ts";
import { requireStack } from "./known-stacks.ts";
import { openSession, readOutputs, type StackOutputs } from "./session.ts";

/** Ways to the database: through PgBouncer with a server connection for each transaction or session, or past it. */
export const MODES = ["transaction", "session", "direct"] as const;
export type Mode = (typeof MODES)[number];

/** PgBouncer's own console, which has a database's form: https://www.pgbouncer.org/usage.html#admin-console */
export const CONSOLE = "console";
const CONSOLE_DATABASE = "pgbouncer";

/**
 * How a role connects in one mode, or to PgBouncer's console.
 *
 * @throws StateError for a role that the stack does not have, or not yet
 */
export function connectionFor(
  { connections, passwords }: StackOutputs,
  role: string,
  mode: Mode | typeof CONSOLE,
): Connection {
  const {
    host,
    port: shared,
    database,
  } = mode === CONSOLE ? { ...connections.transaction, database: CONSOLE_DATABASE } : connections[mode];
  const port = (mode === "direct" ? undefined : connections.rolePorts?.[role]) ?? shared;
  const certificate = connections.certificates[role];
  const password = passwords[role];
  if (!certificate || password === undefined) {
    const remedy = `Run \`npm run up -- --stack ${connections.stack}\`; it has ${connections.roles.join(", ")}.`;
    throw new StateError(`Stack "${connections.stack}" has no role ${role} yet.`, [
      { subject: role, problem: "has no certificate and password in the state", remedy },
    ]);
  }
  const pooled = mode === "direct" ? {} : { pooled: true as const };
  return { host, port, database, user: role, password, ...certificate, ...pooled };
}

/** Server connections that a role's clients share in a mode; undefined where each client has its own. */
export function serverConnectionsOf(
  { connections }: StackOutputs,
  role: string,
  mode: Mode | typeof CONSOLE,
): number | undefined {
  return mode === "transaction" || mode === "session" ? connections[mode].serverConnections?.[role] : undefined;
}

/**
 * What a stack tells its clients.
 *
 * @throws UsageError, StateError when there is no such stack, or it is not up
 */
export async function stackOutputs(stack: string, report: Report): Promise<StackOutputs> {
  requireStack(stack);
  const toolchain = await setUp({ report, images: false });
  return readOutputs(openSession(stack, toolchain));
}
