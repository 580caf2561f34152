import type { ArgsDef } from "citty";
import { UsageError } from "../base/errors.ts";
import type { Output } from "../base/output.ts";
import { CLIENT_ROLES, type ClientRole, POOLED_ROLES, ROLES } from "../database/access/roles.ts";
import type { Connection } from "../database/connection.ts";
import { furtherRoles } from "../infra/settings/further-roles.ts";
import { connectionFor, CONSOLE, MODES, serverConnectionsOf, stackOutputs } from "../stack/connections.ts";
import { checkStackConfig } from "../stack/settings-file.ts";
import { oneOf, option, stackArguments } from "./arguments.ts";

const WAYS = [...MODES, CONSOLE] as const;
type Way = (typeof WAYS)[number];

/** Arguments of every command that connects as a role of a stack. */
export const connectionArguments = {
  stack: stackArguments.stack,
  role: {
    ...option(
      "ROLE",
      `Role: ${CLIENT_ROLES.join(", ")}, or one of the setting roles; default: app_user, app_monitor with --mode console`,
    ),
    alias: "r",
    default: "",
  },
  mode: {
    ...option(
      "MODE",
      `${MODES.join(", ")}, or console for PgBouncer's own; default: transaction, direct for roles the pooler does not let in`,
    ),
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
 * @param subject the argument, as messages name it
 * @throws UsageError when there is no such role
 */
export function parseStackRole(text: string, stack: string, subject = "--role"): KnownRole {
  const own: KnownRole[] = CLIENT_ROLES.map((name) => ({
    name,
    pooled: POOLED_ROLES.some((pooled) => pooled === name),
  }));
  const isOwn = own.some(({ name }) => name === text);
  // A settings file that is wrong keeps nobody from the package's own roles.
  const all = isOwn ? own : [...own, ...furtherRoles(checkStackConfig(stack).config)];
  const names = all.map(({ name }) => name);
  const chosen = oneOf("role", text, names, undefined, subject);
  return all.find(({ name }) => name === chosen) as KnownRole;
}

interface Requested {
  readonly stack: string;
  /** Empty: the default of the way. */
  readonly role: string;
  /** Empty: the default of the role. */
  readonly mode: string;
}

/** Role and way that the arguments ask for. */
function parseWay(args: Requested): { role: string; way: Way } {
  const isConsole = args.mode === CONSOLE;
  const { name: role, pooled } = parseStackRole(args.role || (isConsole ? ROLES.monitor : ROLES.app), args.stack);
  const way = oneOf("mode", args.mode || (pooled ? "transaction" : "direct"), WAYS);
  if (way === "direct" || (isConsole ? role === ROLES.monitor : pooled)) return { role, way };
  const [problem, remedy] = isConsole
    ? ["PgBouncer's console lets in app_monitor only, for SHOW", "Leave --role out."]
    : [`${way} is the pooler's; ${role} connects directly only`, "Use --mode direct."];
  throw new UsageError(`${role} does not come ${isConsole ? "to the console" : "through the pooler"}.`, [
    { subject: "--mode", problem, remedy },
  ]);
}

/** Where docs/pooler.md says what PgBouncer does with startup parameters. */
const PARAMETERS_PAGE = "docs/pooler.md#startup-parameters";

/**
 * The connection that the arguments ask for. Through the pooler, a line on stderr says how many clients work at the
 * same time, and which page explains a refusal: PgBouncer's own message names the parameter only.
 */
export async function requestedConnection(args: Requested, output: Output): Promise<Connection> {
  const { role, way } = parseWay(args);
  const outputs = await stackOutputs(args.stack, output.progress);
  const connection = connectionFor(outputs, role, way);
  if (way === "transaction" || way === "session") {
    const size = serverConnectionsOf(outputs, role, way);
    const shared =
      size === undefined
        ? ""
        : `: ${size} server connections for all ${way === "session" ? "sessions" : "transactions"} of ${role}, one more waits`;
    output.progress(`by PgBouncer in ${way} mode${shared}; startup parameters such as PGOPTIONS: ${PARAMETERS_PAGE}`);
  }
  return connection;
}
