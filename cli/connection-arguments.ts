import type { ArgsDef } from "citty";
import { UsageError } from "../base/errors.ts";
import type { Output } from "../base/output.ts";
import { CLIENT_ROLES, type ClientRole, POOLED_ROLES } from "../database/access/roles.ts";
import type { Connection } from "../database/connection.ts";
import { furtherRoles } from "../infra/settings/further-roles.ts";
import { checkStackConfig } from "../stack/settings-file.ts";
import { MODES, type Mode, stackConnection } from "../stack/connections.ts";
import { oneOf, option, stackArguments } from "./arguments.ts";

/** Arguments of every command that connects as a role of a stack. */
export const connectionArguments = {
  ...stackArguments,
  role: {
    ...option("ROLE", `Role: ${CLIENT_ROLES.join(", ")}, or one of the setting roles`),
    alias: "r",
    default: "app_user",
  },
  mode: {
    ...option("MODE", `${MODES.join(", ")}; default: transaction, direct for roles the pooler does not let in`),
    alias: "m",
    default: "",
  },
} as const satisfies ArgsDef;

/** @throws UsageError unless it is one of the package's own */
export const parseRole = (text: string): ClientRole => oneOf("role", text, CLIENT_ROLES);

/** A role that a connection may be asked for. */
interface KnownRole {
  readonly name: string;
  readonly pooled: boolean;
}

/**
 * @param stack whose settings may have further roles
 * @throws UsageError when there is no such role
 */
export function parseStackRole(text: string, stack: string): KnownRole {
  const own: KnownRole[] = CLIENT_ROLES.map((name) => ({
    name,
    pooled: POOLED_ROLES.some((pooled) => pooled === name),
  }));
  const isOwn = own.some(({ name }) => name === text);
  // A settings file that is wrong keeps nobody from the package's own roles.
  const all = isOwn ? own : [...own, ...furtherRoles(checkStackConfig(stack).config)];
  const names = all.map(({ name }) => name);
  const chosen = oneOf("role", text, names);
  return all.find(({ name }) => name === chosen) as KnownRole;
}

function parseMode(text: string, { name: role, pooled: isPooled }: KnownRole): Mode {
  const mode = oneOf("mode", text || (isPooled ? "transaction" : "direct"), MODES);
  if (isPooled || mode === "direct") return mode;
  throw new UsageError(`${role} does not come through the pooler.`, [
    {
      subject: "--mode",
      problem: `${mode} is the pooler's; ${role} connects directly only`,
      remedy: "Use --mode direct.",
    },
  ]);
}

/** The connection that the arguments ask for. */
export async function requestedConnection(
  args: { stack: string; role: string; mode: string },
  output: Output,
): Promise<Connection> {
  const role = parseStackRole(args.role, args.stack);
  return stackConnection(args.stack, role.name, parseMode(args.mode, role), output.progress);
}
