import { setTimeout as wait } from "node:timers/promises";
import { messageOf } from "../../base/errors.ts";
import { createClone, dropClone, recycleClone } from "../pool/clones.ts";
import { LOCK, WORKERS, type Registry, type Template } from "../pool/registry.ts";
import { claimReturned } from "../pool/states.ts";
import { sweep } from "../pool/sweep.ts";

/** Ready databases that are always kept of a template in use, and the most. */
export const POOL_MIN = 4;
export const POOL_MAX = 64;
/** A template that can not be copied is left alone this long, and keeps no other from it. */
const COPY_AGAIN_MS = 5_000;
/** What nobody answers for any more is looked for this often. */
export const SWEEP_EVERY_MS = 5_000;
/** What is in stock is looked at this often, and whenever something changes. */
const TURN_MS = 1_000;
/** Shared catalogues grow with every database made and dropped; autovacuum is off on a server for tests. */
const VACUUM_AFTER_CHANGES = 500;
/** How fast the pool forgets a busy time, per second. */
const DECAY = 0.97;

export interface KeeperOptions {
  /** Most ready databases per template. @default 64 */
  readonly max?: number;
  readonly report: (line: string) => void;
}

/** What the keeper knows of a template. */
interface Demand extends Template {
  readonly ready: number;
  readonly taken: number;
}

/**
 * Keeps ready databases in stock, sized by how many are in use at once, and removes what is returned or left behind.
 * One keeper works per server; others wait for their turn, so that one that dies is replaced.
 *
 * Ends when `signal` is aborted or the registry's connection is lost.
 */
export async function keep(
  registry: Registry,
  { max = POOL_MAX, report }: KeeperOptions,
  signal: AbortSignal,
): Promise<void> {
  const { client, query } = registry;
  while (!signal.aborted) {
    const { rows } = await query<{ locked: boolean }>("select pg_try_advisory_lock($1, 0) as locked", [LOCK.keeper]);
    if (rows[0]?.locked) break;
    await wait(500, undefined, { signal }).catch(() => {}); // only the signal ends it early
  }
  if (signal.aborted) return;

  let nap = new AbortController();
  const wake = () => nap.abort();
  client.on("notification", wake);
  client.on("end", wake);
  signal.addEventListener("abort", wake, { once: true });
  await query("listen testdb");

  let changes = 0;
  const done = () => {
    changes += 1;
    wake();
  };
  const stock: Stock = { atWork: new Set(), peaks: new Map(), resting: new Map(), decay: 1, max, done, report };
  let lastSweep = 0;
  let lastTurn = Date.now();
  let sweeping: Promise<void> | undefined;
  while (!signal.aborted && registry.isOpen()) {
    nap = new AbortController();
    try {
      // Beside the turns: what can not be removed may take its time.
      if (!sweeping && Date.now() - lastSweep > SWEEP_EVERY_MS) {
        lastSweep = Date.now();
        sweeping = sweep(registry, (name, why) => {
          report(`removed ${name}: ${why}`);
          changes += 1;
        })
          .catch((error: unknown) => report(`sweep failed, going on: ${messageOf(error)}`))
          .finally(() => (sweeping = undefined));
      }
      const seconds = (Date.now() - lastTurn) / 1_000;
      lastTurn = Date.now();
      stock.decay = DECAY ** seconds;
      await turn(registry, stock);
      if (changes >= VACUUM_AFTER_CHANGES) {
        changes = 0;
        await registry.workers.query(
          "vacuum pg_catalog.pg_database, pg_catalog.pg_shdepend, pg_catalog.pg_db_role_setting, testdb.clone, testdb.template",
        );
      }
    } catch (error) {
      if (!registry.isOpen()) break;
      report(`failed, going on: ${messageOf(error)}`);
      await wait(500, undefined, { signal }).catch(() => {}); // only the signal ends it early
    }
    if (!signal.aborted) await wait(TURN_MS, undefined, { signal: nap.signal }).catch(() => {}); // woken early
  }
  await Promise.all([sweeping, ...stock.atWork]);
  if (registry.isOpen()) {
    await query("unlisten testdb");
    await query("select pg_advisory_unlock($1, 0)", [LOCK.keeper]);
  }
}

interface Stock {
  /** What is being emptied, dropped or copied; one that hangs does not keep the others from it. */
  readonly atWork: Set<Promise<void>>;
  /** Called when one of them has ended. */
  readonly done: () => void;
  /** Most databases of a template that were in use at once, lately. */
  readonly peaks: Map<string, number>;
  /** Templates whose copy failed, and until when none is tried. */
  readonly resting: Map<string, number>;
  /** What is left of the peaks since the last turn. */
  decay: number;
  readonly max: number;
  readonly report: (line: string) => void;
}

/** One round: returned databases are made ready again or dropped, missing ones are made, as far as workers are free. */
async function turn(registry: Registry, { atWork, done, peaks, resting, decay, max, report }: Stock): Promise<void> {
  const free = WORKERS - atWork.size;
  if (free <= 0) return;
  const returned = await claimReturned(registry, free);
  const { rows: demands } = await registry.query<Demand>(
    `select key, database, count(*) filter (where state = 'creating' or (state = 'ready' and lease is null))::integer as ready,
            count(*) filter (where state = 'taken' or (state = 'ready' and lease is not null))::integer as taken
       from testdb.template left join testdb.clone on clone.template = key
      where used_at > now() - interval '4 minutes'
      group by key, database order by max(used_at) desc`,
  );
  const wanted = new Map<string, { readonly demand: Demand; missing: number }>();
  for (const demand of demands) {
    const peak = Math.max(demand.taken, (peaks.get(demand.key) ?? 0) * decay);
    peaks.set(demand.key, peak);
    wanted.set(demand.key, { demand, missing: Math.min(max, Math.max(POOL_MIN, Math.ceil(peak))) - demand.ready });
  }
  // Each by itself: one that fails keeps no other from being done.
  const attempt = (what: string, action: () => Promise<unknown>) => {
    const work = action()
      .catch((error: unknown) => report(`${what}: ${messageOf(error)}`))
      .then(() => {
        atWork.delete(work);
        done();
      });
    atWork.add(work);
  };
  for (const { name, template } of returned) {
    const place = wanted.get(template);
    if (place && place.missing > 0) {
      place.missing -= 1;
      attempt(name, () => recycleClone(registry, name, place.demand));
    } else {
      attempt(name, () => dropClone(registry, name));
    }
  }
  for (const { demand, missing } of wanted.values()) {
    if ((resting.get(demand.key) ?? 0) > Date.now()) continue;
    for (let count = 0; count < missing && atWork.size < WORKERS; count++) {
      attempt(`copy of ${demand.database}`, () =>
        createClone(registry, demand).catch((error: unknown) => {
          resting.set(demand.key, Date.now() + COPY_AGAIN_MS);
          throw error;
        }),
      );
    }
  }
}
