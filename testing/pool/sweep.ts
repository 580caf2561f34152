import { hostname } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { TEMPLATE_DATABASE_PREFIX, TEST_DATABASE_PREFIX } from "../../infra/settings/names.ts";
import { processStart } from "../../base/process-identity.ts";
import { dropClone } from "./clones.ts";
import { dropOwner } from "./owners.ts";
import { LOCK, type Registry } from "./registry.ts";
import { claimGone, expire } from "./states.ts";

/** A template nobody has asked for this long is removed; the next use builds it again. */
const TEMPLATE_UNUSED = "60 minutes";
/** And ready copies of one after this long, so that an old chain's do not hold memory. */
const READY_UNUSED = "5 minutes";

/**
 * Removes what nobody answers for any more: databases of processes that ended, kept ones whose time is over, half-built
 * ones, old templates, and databases that no line of the registry knows. Any process may do it at any time, also
 * several at once.
 */
export async function sweep(
  registry: Registry,
  removed: (name: string, why: string) => void = () => {},
): Promise<void> {
  const { query } = registry;
  const failures: unknown[] = [];
  // One that cannot be removed keeps no other from it; the next sweep tries it again.
  const remove = async (name: string, why: string) => {
    try {
      await dropClone(registry, name);
      removed(name, why);
    } catch (error) {
      failures.push(error);
    }
  };

  await endDeadHolders(registry);
  await query("select testdb.restore_roles()");
  for (const { name, why } of await claimGone(registry, READY_UNUSED)) await remove(name, why);

  const { rows: templates } = await query<{ key: string; database: string }>(
    `delete from testdb.template where used_at < now() - interval '${TEMPLATE_UNUSED}' returning key, database`,
  );
  for (const { database } of templates) await remove(database, "has not been used for long");

  // One statement, one snapshot: a line is written before its database is made and deleted after it is dropped.
  const { rows: unknown } = await query<{ name: string }>(
    `select datname as name from pg_catalog.pg_database
      where (starts_with(datname, '${TEST_DATABASE_PREFIX}') or starts_with(datname, '${TEMPLATE_DATABASE_PREFIX}'))
        and not exists (select from testdb.clone where name = datname)
        and not exists (select from testdb.template where database = datname)`,
  );
  for (const { name } of unknown) await remove(name, "nobody knows it");
  const { rows: owners } = await query<{ name: string }>(
    `select rolname as name from pg_catalog.pg_roles
      where starts_with(rolname, '${TEST_DATABASE_PREFIX}') and not exists (select from testdb.clone where name = rolname)`,
  );
  for (const { name } of owners) {
    await dropOwner(registry, name).catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw failures[0];
}

/** Holders without a connection of their own are processes of this machine, or have a time. */
async function endDeadHolders(registry: Registry): Promise<void> {
  const { rows } = await registry.query<{ name: string; pid: number; start: string }>(
    "select name, holder_pid as pid, holder_start as start from testdb.clone where state = 'taken' and holder_pid is not null and holder_host = $1",
    [hostname()],
  );
  const dead = rows.filter(({ pid, start }) => processStart(pid) !== start).map(({ name }) => name);
  if (dead.length > 0) await expire(registry, dead);
}

/** How often a process looks whether somebody keeps the server's pool. */
const UNKEPT_EVERY_MS = 5_000;

/**
 * Sweeps for as long as the registry is open and no keeper is there to do it: at once, then every few seconds. Keeps no
 * process alive.
 */
export async function sweepUnkept(registry: Registry): Promise<void> {
  while (registry.isOpen()) {
    try {
      const { rows } = await registry.query<{ kept: boolean }>("select testdb.is_held($1, 0) as kept", [LOCK.keeper]);
      if (!rows[0]?.kept) await sweep(registry);
    } catch {
      // The connection shows it to those who wait for it; what could not be removed is tried again.
    }
    await wait(UNKEPT_EVERY_MS, undefined, { ref: false });
  }
}
