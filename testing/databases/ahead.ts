import { clientConfig } from "../../database/connection.ts";
import pg from "pg";
import type { ClientRole } from "../../database/access/roles.ts";
import { isUsable, keepProcessAlive } from "../../base/node-postgres.ts";
import { connectionTo, type TestMode } from "../description/server.ts";
import { type Holder, setAside, takeAside } from "../pool/states.ts";
import type { ReadSource } from "../pool/template.ts";
import type { Ahead, Process } from "./process.ts";
import { giveBack, templateOf } from "./take.ts";

/**
 * A database with a connection open in it, that was prepared since the last one was taken; undefined where there is
 * none.
 */
export async function takeAhead(
  { registry, ahead }: Process,
  kind: string,
  holder: Holder,
): Promise<Ahead | undefined> {
  const pending = ahead.get(kind);
  ahead.delete(kind); // before anything is waited for: it is one taker's
  const prepared = await pending;
  if (!prepared) return undefined;
  try {
    if ((await takeAside(registry, prepared.name, holder)) && isUsable(prepared.client)) {
      keepProcessAlive(prepared.client, true);
      return prepared;
    }
  } catch (error) {
    prepared.client.end().catch(() => {});
    await giveBack(registry, prepared.name).catch(() => {}); // the error of the take is told
    throw error;
  }
  prepared.client.end().catch(() => {});
  await giveBack(registry, prepared.name);
  return undefined;
}

/**
 * Sets the next database aside and opens its connection, while the test is at work. Not for the first one of a process:
 * many take no second. It is ready in the registry's eyes, and goes with this process.
 */
export function lookAhead(owner: Process, kind: string, source: ReadSource, role: ClientRole, mode: TestMode): void {
  const { registry, ahead } = owner;
  if (ahead.has(kind)) return;
  const first = !owner.connects.has(kind);
  owner.connects.add(kind);
  if (first) return;
  const prepare = async (): Promise<Ahead | undefined> => {
    const name = await setAside(registry, await templateOf(registry, source));
    if (!name) return undefined;
    const client = new pg.Client(clientConfig(connectionTo(registry.server, name, role, mode), "test"));
    client.on("error", () => {}); // seen when it is asked for
    try {
      await client.connect();
      keepProcessAlive(client, false); // keeps no process alive that asks for no other
      return { name, client };
    } catch {
      // The next take connects itself, and hears why.
      client.end().catch(() => {});
      await giveBack(registry, name);
      return undefined;
    }
  };
  ahead.set(
    kind,
    prepare().catch(() => undefined), // the next take goes without it, and hears what is wrong
  );
}
