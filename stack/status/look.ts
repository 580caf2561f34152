import type { Client } from "pg";
import { messageOf, type Problem } from "../../base/errors.ts";
import { type Connection, withConnection } from "../../database/connection.ts";

/** Stands for something that could not be looked at. The status says why in its list `unknown`. */
export type Unknown = "unknown";

/** Looks at something. Where that fails, it notes why. */
export type Look = <T>(subject: string, ask: () => Promise<T>) => Promise<T | Unknown>;

/** Makes a look that notes each failure in `unknown`. */
export const lookNoting =
  (unknown: Problem[]): Look =>
  async (subject, ask) => {
    try {
      return await ask();
    } catch (error) {
      unknown.push({ subject, problem: messageOf(error) });
      return "unknown";
    }
  };

/**
 * Asks a database. A paused pooler, and a server whose tables are locked, never answer: the question fails after 15 s.
 */
export const ask = <T>(connection: Connection, work: (client: Client) => Promise<T>): Promise<T> =>
  withConnection(connection, work, { queryTimeoutMs: 15_000 });

/** Ends a question to an engine, or to a command in a container, that does not answer. */
export const inTime = (): AbortSignal => AbortSignal.timeout(30_000);
