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
 * Takes the database that `lookAhead` prepared. A connection is open in it.
 *
 * @returns undefined if none was prepared, or if it is no longer usable
 */
export async function takeAhead(
  { registry, ahead }: Process,
  kind: string,
  holder: Holder,
): Promise<Ahead | undefined> {
  const pending = ahead.get(kind);
  ahead.delete(kind); // before the first await, so that no second caller takes it
  const prepared = await pending;
  if (!prepared) return undefined;
  try {
    if ((await takeAside(registry, prepared.name, holder)) && isUsable(prepared.client)) {
      keepProcessAlive(prepared.client, true);
      return prepared;
    }
  } catch (error) {
    prepared.client.end().catch(() => {});
    await giveBack(registry, prepared.name).catch(() => {}); // the caller gets the error of the take
    throw error;
  }
  prepared.client.end().catch(() => {});
  await giveBack(registry, prepared.name);
  return undefined;
}

/**
 * Sets the next database aside and opens a connection in it, while the test uses its own. It does nothing at the first
 * call of a process for a kind, because many processes take only one database. In the registry the database is
 * `ready`, with this process' lease. The database is dropped when this process ends.
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
    client.on("error", () => {}); // `takeAhead` sees that the connection is lost
    try {
      await client.connect();
      keepProcessAlive(client, false); // a process that takes no other database may end
      return { name, client };
    } catch {
      // The next take opens its own connection and reports the error.
      client.end().catch(() => {});
      await giveBack(registry, name);
      return undefined;
    }
  };
  ahead.set(
    kind,
    prepare().catch(() => undefined), // the next take does without it and reports the error
  );
}
