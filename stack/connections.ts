import { StateError } from "../base/errors.ts";
import type { Connection } from "../database/connection.ts";
import type { Report } from "../base/progress.ts";
import { setUp } from "../toolchain/set-up.ts";
import { requireStack } from "./known-stacks.ts";
import { openSession, readOutputs, type StackOutputs } from "./session.ts";

/** Through PgBouncer with a server connection for each transaction or each session, or directly to PostgreSQL. */
export type Mode = "transaction" | "session" | "direct";
export const MODES: readonly Mode[] = ["transaction", "session", "direct"];

/**
 * How a role connects in one mode.
 *
 * @throws StateError for a role that the stack does not have, or not yet
 */
export function connectionFor({ connections, passwords }: StackOutputs, role: string, mode: Mode): Connection {
  const { host, port: shared, database } = connections[mode];
  const port = (mode === "direct" ? undefined : connections.rolePorts?.[role]) ?? shared;
  const certificate = connections.certificates[role];
  const password = passwords[role];
  if (!certificate || password === undefined) {
    const remedy = `Run \`npm run up -- --stack ${connections.stack}\`; it has ${connections.roles.join(", ")}.`;
    throw new StateError(`Stack "${connections.stack}" has no role ${role} yet.`, [
      { subject: role, problem: "has no certificate and password in the state", remedy },
    ]);
  }
  return { host, port, database, user: role, password, ...certificate };
}

/**
 * How a role reaches a stack's database.
 *
 * @throws UsageError, StateError when there is no such stack, or it is not up
 */
export async function stackConnection(stack: string, role: string, mode: Mode, report: Report): Promise<Connection> {
  requireStack(stack);
  const toolchain = await setUp({ report, images: false });
  return connectionFor(await readOutputs(openSession(stack, toolchain)), role, mode);
}
