import type { Client } from "pg";
import { frozenDatabase } from "../migrate/run/frozen.ts";
import { ROLES } from "../database/access/roles.ts";
import { connect } from "../database/connection.ts";
import { hasCode, messageOf, StateError } from "../base/errors.ts";
import type { Output } from "../base/output.ts";
import { stackConnection } from "./connections.ts";

/**
 * A statement that writes, in a database that somebody froze: https://www.postgresql.org/docs/16/errcodes-appendix.html
 */
const READ_ONLY = "25006";

/**
 * Runs work as the owner of a stack's database, past the pooler.
 *
 * @throws StateError when the server lets nobody in: it does not run, its passwords or certificates are another
 *   state's; and when the database is frozen
 */
export async function asOwner<T>(
  args: { readonly stack: string },
  output: Output,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const { stack } = args;
  const connection = await stackConnection(stack, ROLES.owner, "direct", output.progress);
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
    throw hasCode(error, READ_ONLY) ? frozenDatabase(client) : error;
  } finally {
    await client.end();
  }
}
