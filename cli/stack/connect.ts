import type { ArgsDef } from "citty";
import type { Client } from "pg";
import { frozenDatabase } from "../../infra/migrations/runner.ts";
import { CLIENT_ROLES, type ClientRole, POOLED_ROLES, ROLES } from "../../infra/names.ts";
import { connect, type Connection } from "../../infra/provider/connection.ts";
import { messageOf, StateError, UsageError } from "../../toolchain/errors.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import type { Output } from "../output.ts";
import { requireStack } from "./known-stacks.ts";
import { openSession, readOutputs } from "./session.ts";
import { connectionFor, MODES, type Mode } from "./status.ts";

/** A statement that writes, in a database that somebody froze: https://www.postgresql.org/docs/16/errcodes-appendix.html */
const READ_ONLY = "25006";

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
  const mode = parseMode(args.mode, role);
  requireStack(args.stack);
  const toolchain = await setUp({ report: output.progress, images: false });
  return connectionFor(await readOutputs(openSession(args.stack, toolchain)), role, mode);
}

/**
 * Runs work as the owner of a stack's database, past the pooler.
 *
 * @throws StateError when the server lets nobody in: it does not run, its passwords or certificates are another state's; and when
 *   the database is frozen
 */
export async function asOwner<T>(
  args: { readonly stack: string },
  output: Output,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const { stack } = args;
  const connection = await requestedConnection({ stack, role: ROLES.owner, mode: "direct" }, output);
  const client = await connect(connection).catch((cause: unknown) => {
    const subject = `${connection.user} at ${connection.host}:${connection.port}`;
    const remedy = `\`aiwdb status --stack ${stack}\` says more; \`aiwdb up --stack ${stack}\` puts right what it can.`;
    throw new StateError(
      `The database of stack "${stack}" can't be reached:`,
      [{ subject, problem: messageOf(cause), remedy }],
      { cause },
    );
  });
  try {
    return await work(client);
  } catch (error) {
    throw (error as { code?: string }).code === READ_ONLY ? frozenDatabase(client) : error;
  } finally {
    await client.end();
  }
}
