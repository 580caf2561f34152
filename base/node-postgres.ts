import type { EventEmitter } from "node:events";
import type pg from "pg";

/**
 * Fields of node-postgres that its types and its manual do not promise. No other file reads them, and a unit test holds
 * the version in which they were read. The file is about a library and stands in `base`, because `migrate` and
 * `database`, which do not import each other, both need it.
 *
 * @see https://github.com/brianc/node-postgres/blob/pg%408.23.1/packages/pg/lib/client.js
 */
interface Internals {
  readonly processID: number | null;
  readonly _ending: boolean;
  readonly _queryable: boolean;
  readonly connection: EventEmitter & {
    parsedStatements: Readonly<Record<string, string>>;
    submittedNamedStatements: Readonly<Record<string, string>>;
  };
  ref(): void;
  unref(): void;
}

const internalsOf = (client: pg.Client) => client as pg.Client & Internals;

/** The process id that the client was told at login: the backend's own, or one that a pooler invented. */
export function loginProcessId(client: pg.Client): number | undefined {
  return internalsOf(client).processID ?? undefined;
}

/** Whether a connected client takes another query: its connection was neither lost nor ended. */
export function isUsable(client: pg.Client): boolean {
  const { _ending, _queryable } = internalsOf(client);
  return _queryable && !_ending;
}

/** Whether an open connection keeps this process alive. */
export function keepProcessAlive(client: pg.Client, isKept: boolean): void {
  internalsOf(client)[isKept ? "ref" : "unref"]();
}

/** Makes the client prepare its named statements again. The server has forgotten them, as after DISCARD ALL. */
export function forgetNamedStatements(client: pg.Client): void {
  Object.assign(internalsOf(client).connection, { parsedStatements: {}, submittedNamedStatements: {} });
}

/** Calls the listener each time the server has answered and is ready for the next query: once a round trip. */
export function onReadyForQuery(client: pg.Client, listener: () => void): void {
  internalsOf(client).connection.on("readyForQuery", listener);
}
