import type pg from "pg";
import { readServer } from "../description/server.ts";
import { keepProcessAlive } from "../../base/node-postgres.ts";
import { openRegistry, type Registry } from "../pool/registry.ts";
import { sweepUnkept } from "../pool/sweep.ts";

/** A database that was set aside for this process, and the connection that is open in it. */
export interface Ahead {
  readonly name: string;
  readonly client: pg.Client;
}

/** This process, as one server knows it. */
export interface Process {
  readonly registry: Registry;
  /** Databases and work this process has; while there are some, the connection keeps the process alive. */
  held: number;
  /** Prepared for the next one who asks, by template, role and mode. */
  readonly ahead: Map<string, Promise<Ahead | undefined>>;
  /** Of which kinds this process has taken one with a connection. */
  readonly connects: Set<string>;
}

const processes = new Map<string, Promise<Process>>();

/** One registry per process and server; opened again when its connection was lost. */
export async function processOf(name: string | undefined): Promise<Process> {
  const server = readServer(name);
  const known = processes.get(server.name);
  if (known) {
    const opened = await known;
    if (opened.registry.isOpen()) return opened;
    // The server went away, or ended our session: what this process had is no longer its own.
    if (processes.get(server.name) === known) processes.delete(server.name);
    return processOf(name);
  }
  const opening = openRegistry(server).then((registry) => {
    void sweepUnkept(registry);
    return { registry, held: 0, ahead: new Map(), connects: new Set<string>() };
  });
  processes.set(server.name, opening);
  opening.catch(() => processes.delete(server.name)); // whoever waits for it hears of the error
  return opening;
}

export function hold(owner: Process): void {
  owner.held += 1;
  if (owner.held === 1) keepProcessAlive(owner.registry.client, true);
}

export function release(owner: Process): void {
  owner.held -= 1;
  // A script that has given everything back may end without closing anything.
  if (owner.held === 0) keepProcessAlive(owner.registry.client, false);
}

/** Does work with the registry of a server, which keeps the process alive meanwhile. */
export async function withRegistry<T>(name: string | undefined, work: (registry: Registry) => Promise<T>): Promise<T> {
  const owner = await processOf(name);
  hold(owner);
  try {
    return await work(owner.registry);
  } finally {
    release(owner);
  }
}

/** Closes what this process has open towards servers for tests. What it holds is dropped. */
export async function closeRegistries(): Promise<void> {
  const open = [...processes.values()];
  processes.clear();
  for (const opened of await Promise.allSettled(open)) {
    if (opened.status === "rejected") continue;
    const { registry, ahead } = opened.value;
    for (const prepared of await Promise.all(ahead.values())) {
      if (!prepared) continue;
      keepProcessAlive(prepared.client, true); // else the process may end before the connection has, in the middle of this
      await prepared.client.end().catch(() => {});
    }
    await registry.close();
  }
}
