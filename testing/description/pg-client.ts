import type pg from "pg";

/** What a client of node-postgres has and does not declare. */
interface Undeclared {
  ref(): void;
  unref(): void;
  readonly processID: number;
  readonly connection: object;
  readonly _ending: boolean;
  readonly _queryable: boolean;
}

const undeclared = (client: pg.Client) => client as unknown as Undeclared;

/** Whether an open connection keeps this process alive. */
export function setAlive(client: pg.Client, isAlive: boolean): void {
  if (isAlive) undeclared(client).ref();
  else undeclared(client).unref();
}

/** Whether a connection takes statements: it is neither being closed nor lost. */
export function isUsable(client: pg.Client): boolean {
  const { _ending, _queryable } = undeclared(client);
  return _queryable && !_ending;
}

/** Number of the server's process behind a connection. */
export function backendOf(client: pg.Client): number {
  return undeclared(client).processID;
}

/** Makes the client forget its named statements, which the server has forgotten. */
export function forgetStatements(client: pg.Client): void {
  Object.assign(undeclared(client).connection, { parsedStatements: {}, submittedNamedStatements: {} });
}
