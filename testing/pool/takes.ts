import { createClone, disclaim, dropClone, recycleClone } from "./clones.ts";
import { explainTake, type Registry } from "./registry.ts";
import type { Template } from "./registry.ts";

/** Who has a database, for `aiwdb testdb list` and the leak report. */
export interface Holder {
  readonly label: string;
  readonly run: string;
}

/**
 * Takes a database of a template under this process' lease: a ready one; else a returned one, emptied here, as that is
 * quicker than a copy; else a new copy.
 *
 * @throws StateError when the server is marked production
 */
export async function takeDatabase(registry: Registry, template: Template, holder: Holder): Promise<string> {
  const ready = await takeReady(registry, template, holder);
  return ready ?? (await emptyReturned(registry, template, holder)) ?? createClone(registry, template, "taken", holder);
}

async function takeReady(
  { query, lease }: Registry,
  template: Template,
  { label, run }: Holder,
): Promise<string | undefined> {
  try {
    const { rows } = await query<{ name: string | null }>({
      name: "testdb-take",
      text: "select testdb.take($1, $2, $3, $4) as name",
      values: [template.key, lease, label, run],
    });
    return rows[0]?.name ?? undefined;
  } catch (error) {
    throw explainTake(error);
  }
}

/** Does the keeper's work where that is behind; one that can not be brought back is dropped. */
async function emptyReturned(registry: Registry, template: Template, holder: Holder): Promise<string | undefined> {
  const { rows } = await registry.query<{ name: string | null }>({
    name: "testdb-claim-returned",
    text: "select testdb.claim_returned($1, $2) as name",
    values: [template.key, registry.lease],
  });
  let name = rows[0]?.name;
  if (!name) return undefined;
  try {
    const recycled = await recycleClone(registry, name, template, holder);
    name = recycled.name;
    if (recycled.ready) return name;
    await dropClone(registry, name);
  } catch {
    await disclaim(registry, name); // the next sweep's
  }
  return undefined;
}
