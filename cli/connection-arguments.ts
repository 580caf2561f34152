import type { ArgsDef } from "citty";
import { UsageError } from "../base/errors.ts";
import type { Output } from "../base/output.ts";
import { CLIENT_ROLES, type ClientRole, POOLED_ROLES } from "../database/access/roles.ts";
import type { Connection } from "../database/connection.ts";
import { MODES, type Mode, stackConnection } from "../stack/connections.ts";
import { oneOf, option, stackArguments } from "./arguments.ts";

/** Arguments of every command that connects as a role of a stack. */
export const connectionArguments = {
  ...stackArguments,
  role: { ...option("ROLE", `Role: ${CLIENT_ROLES.join(", ")}`), alias: "r", default: "app_user" },
  mode: {
    ...option("MODE", `${MODES.join(", ")}; default: transaction, direct for roles the pooler does not let in`),
    alias: "m",
    default: "",
  },
} as const satisfies ArgsDef;

/** @throws UsageError when there is no such role */
export const parseRole = (text: string): ClientRole => oneOf("role", text, CLIENT_ROLES);

function parseMode(text: string, role: ClientRole): Mode {
  const isPooled = POOLED_ROLES.some((pooled) => pooled === role);
  const mode = oneOf("mode", text || (isPooled ? "transaction" : "direct"), MODES);
  if (isPooled || mode === "direct") return mode;
  throw new UsageError(`${role} does not come through the pooler.`, [
    {
      subject: "--mode",
      problem: `${mode} is the pooler's; ${role} changes the schema or the cluster, which needs a connection of its own`,
      remedy: "Use --mode direct.",
    },
  ]);
}

/** The connection that the arguments ask for. */
export async function requestedConnection(
  args: { stack: string; role: string; mode: string },
  output: Output,
): Promise<Connection> {
  const role = parseRole(args.role);
  return stackConnection(args.stack, role, parseMode(args.mode, role), output.progress);
}
