import type pg from "pg";
import { readServer } from "../description/server.ts";
import { keepProcessAlive } from "../../base/node-postgres.ts";
import { openRegistry, type Registry } from "../pool/registry.ts";
import { sweepUnkept } from "../pool/sweep.ts";

/** A database that is set aside for this process, and a connection that is open in it. */
export interface Ahead {
  readonly name: string;
  readonly client: pg.Client;
}

/** What this process has at one server. */
export interface Process {
  readonly registry: Registry;
  /**
   * Number of databases and calls that this process has open. The registry's connection keeps it alive while there are
   * any.
   */
  held: number;
  /** Databases that are prepared for the next caller, by kind: template, role and mode. */
  readonly ahead: Map<string, Promise<Ahead | undefined>>;
  /** Kinds of which this process has taken a database with a connection. */
  readonly connects: Set<string>;
}

const processes = new Map<string, Promise<Process>>();

/**
 * The registry of a server. A process opens one for each server, and opens it again when the connection was lost.
 *
 * @param name of the server; undefined for the default one
 */
export async function processOf(name: string | undefined): Promise<Process> {
  const server = readServer(name);
  const known = processes.get(server.name);
  if (known) {
    const opened = await known;
    if (opened.registry.isOpen()) return opened;
    // The server stopped, or it ended our session. The databases of this process are no longer its own.
    if (processes.get(server.name) === known) processes.delete(server.name);
    return processOf(name);
  }
  const opening = openRegistry(server).then((registry) => {
    void sweepUnkept(registry);
    return { registry, held: 0, ahead: new Map(), connects: new Set<string>() };
  });
  processes.set(server.name, opening);
  opening.catch(() => processes.delete(server.name)); // every caller that waits for `opening` gets the error
  return opening;
}

/** Says that this process has one more database or call open. */
export function hold(owner: Process): void {
  owner.held += 1;
  if (owner.held === 1) keepProcessAlive(owner.registry.client, true);
}

/** Says that a database or call of this process is over. */
export function release(owner: Process): void {
  owner.held -= 1;
  // A script that has given everything back may end without a call of `closeRegistries`.
  if (owner.held === 0) keepProcessAlive(owner.registry.client, false);
}

/** Does work with a server's registry. The process stays alive until the work is done. */
export async function withRegistry<T>(name: string | undefined, work: (registry: Registry) => Promise<T>): Promise<T> {
  const owner = await processOf(name);
  hold(owner);
  try {
    return await work(owner.registry);
  } finally {
    release(owner);
  }
}

/** Closes all connections of this process to servers for tests. The servers then drop the databases that it has. */
export async function closeRegistries(): Promise<void> {
  const open = [...processes.values()];
  processes.clear();
  for (const opened of await Promise.allSettled(open)) {
    if (opened.status === "rejected") continue;
    const { registry, ahead } = opened.value;
    for (const prepared of await Promise.all(ahead.values())) {
      if (!prepared) continue;
      keepProcessAlive(prepared.client, true); // otherwise the process may end before `end` has closed the connection
      await prepared.client.end().catch(() => {});
    }
    await registry.close();
  }
}
