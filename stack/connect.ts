import type { Client } from "pg";
import { frozenDatabase } from "../migrate/run/frozen.ts";
import { ROLES } from "../database/access/roles.ts";
import { connect } from "../database/connection.ts";
import { hasCode, messageOf, StateError } from "../base/errors.ts";
import type { Output } from "../base/output.ts";
import { connectionFor, stackOutputs } from "./connections.ts";

/** The code of a write in a frozen database: https://www.postgresql.org/docs/16/errcodes-appendix.html */
const READ_ONLY = "25006";

/**
 * Runs work as the owner of a stack's database, past the pooler.
 *
 * @throws StateError when the server does not let the owner in, for example because it does not run or its passwords
 *   are another state's, and when the database is frozen
 */
export async function asOwner<T>(
  args: { readonly stack: string },
  output: Output,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const { stack } = args;
  const connection = connectionFor(await stackOutputs(stack, output.progress), ROLES.owner, "direct");
  const client = await connect(connection).catch((cause: unknown) => {
    const subject = `${connection.user} at ${connection.host}:${connection.port}`;
    const remedy = `\`aiwdb status --stack ${stack}\` says more; \`aiwdb up --stack ${stack}\` puts right what it can.`;
    const problem = { subject, problem: messageOf(cause), remedy };
    throw new StateError(`The database of stack "${stack}" can't be reached:`, [problem], { cause });
  });
  try {
    return await work(client);
  } catch (error) {
    throw hasCode(error, READ_ONLY) ? frozenDatabase(client) : error;
  } finally {
    await client.end();
  }
}
