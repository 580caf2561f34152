import type { ArgsDef } from "citty";
import { UsageError } from "../base/errors.ts";
import type { Output } from "../base/output.ts";
import { CLIENT_ROLES, type ClientRole, POOLED_ROLES, ROLES } from "../database/access/roles.ts";
import type { Connection } from "../database/connection.ts";
import { connectionFor, CONSOLE, MODES, serverConnectionsOf, stackOutputs } from "../stack/connections.ts";
import { oneOf, option, stackArguments } from "./arguments.ts";

const WAYS = [...MODES, CONSOLE] as const;
type Way = (typeof WAYS)[number];

/** Arguments of every command that connects as a role of a stack. */
export const connectionArguments = {
  ...stackArguments,
  role: {
    ...option("ROLE", `Role: ${CLIENT_ROLES.join(", ")}; default: app_user, app_monitor with --mode console`),
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

/** @throws UsageError when there is no such role */
export const parseRole = (text: string): ClientRole => oneOf("role", text, CLIENT_ROLES);

/** Role and way that the arguments ask for. */
function parseWay(args: { role: string; mode: string }): { role: ClientRole; way: Way } {
  const isConsole = args.mode === CONSOLE;
  const role = parseRole(args.role || (isConsole ? ROLES.monitor : ROLES.app));
  const isPooled = POOLED_ROLES.some((pooled) => pooled === role);
  const way = oneOf("mode", args.mode || (isPooled ? "transaction" : "direct"), WAYS);
  if (way === "direct" || (isConsole ? role === ROLES.monitor : isPooled)) return { role, way };
  const [problem, remedy] = isConsole
    ? ["PgBouncer's console lets in app_monitor only, for SHOW", "Leave --role out."]
    : [
        `${way} is the pooler's; ${role} changes the schema or the cluster, which needs a connection of its own`,
        "Use --mode direct.",
      ];
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
export async function requestedConnection(
  args: { stack: string; role: string; mode: string },
  output: Output,
): Promise<Connection> {
  const { role, way } = parseWay(args);
  const outputs = await stackOutputs(args.stack, output.progress);
  if (way === "transaction" || way === "session") {
    const size = serverConnectionsOf(outputs, role, way);
    const shared =
      size === undefined
        ? ""
        : `: ${size} server connections for all ${way === "session" ? "sessions" : "transactions"} of ${role}, one more waits`;
    output.progress(`by PgBouncer in ${way} mode${shared}; startup parameters such as PGOPTIONS: ${PARAMETERS_PAGE}`);
  }
  return connectionFor(outputs, role, way);
}
