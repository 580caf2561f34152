import type { ArgsDef } from "citty";
import { UsageError } from "../base/errors.ts";
import type { Output } from "../base/output.ts";
import { CLIENT_ROLES, type ClientRole, POOLED_ROLES } from "../database/access/roles.ts";
import type { Connection } from "../database/connection.ts";
import { MODES, type Mode, stackConnection } from "../stack/connections.ts";
import { stackArguments } from "./arguments.ts";

/** Arguments of commands that connect as somebody. */
export const connectionArguments = {
  ...stackArguments,
  role: {
    type: "string",
    alias: "r",
    default: "app_user",
    description: `Role: ${CLIENT_ROLES.join(", ")}`,
    valueHint: "ROLE",
  },
  mode: {
    type: "string",
    alias: "m",
    default: "",
    description: `${MODES.join(", ")}; default: transaction, direct for roles the pooler does not let in`,
    valueHint: "MODE",
  },
} as const satisfies ArgsDef;

export function parseRole(text: string): ClientRole {
  const role = CLIENT_ROLES.find((known) => known === text);
  if (!role)
    throw new UsageError(`There is no role "${text}".`, [
      { subject: "--role", problem: `must be one of ${CLIENT_ROLES.join(", ")}` },
    ]);
  return role;
}

export function parseMode(text: string, role: ClientRole): Mode {
  const pooled = (POOLED_ROLES as readonly string[]).includes(role);
  const mode = text === "" ? (pooled ? "transaction" : "direct") : MODES.find((known) => known === text);
  if (!mode)
    throw new UsageError(`There is no mode "${text}".`, [
      { subject: "--mode", problem: `must be one of ${MODES.join(", ")}` },
    ]);
  if (!pooled && mode !== "direct") {
    throw new UsageError(`${role} does not come through the pooler.`, [
      {
        subject: "--mode",
        problem: `${mode} is the pooler's; ${role} changes the schema or the cluster, which needs a connection of its own`,
        remedy: "Use --mode direct.",
      },
    ]);
  }
  return mode;
}

/** The connection the arguments ask for. */
export async function requestedConnection(
  args: { stack: string; role: string; mode: string },
  output: Output,
): Promise<Connection> {
  const role = parseRole(args.role);
  return stackConnection(args.stack, role, parseMode(args.mode, role), output.progress);
}
