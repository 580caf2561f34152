import { identifier } from "../../database/quote.ts";
import { randomBytes } from "node:crypto";
import type pg from "pg";
import { TEST_DATABASE_PREFIX } from "../../infra/settings/names.ts";
import { connectStatements } from "../../database/access/rights.ts";
import { ROLES } from "../../database/access/roles.ts";
import { hasCode, StateError } from "../../base/errors.ts";
import { until } from "../../base/retry.ts";
import { dropOwner, hasOwner } from "./owners.ts";
import type { Registry, Template } from "./registry.ts";
import { fingerprintOf, resetDatabase } from "./reset.ts";
import { beginCopy, disclaim, emptied, endCopy, type Holder, removed, renamed } from "./states.ts";
import { asSuperuser, type TestServer } from "../description/server.ts";

/** A name nobody had before, so that a stale address never leads to somebody else's database. */
export function newCloneName(): string {
  return `${TEST_DATABASE_PREFIX}${randomBytes(8).toString("hex")}`;
}

/**
 * CREATE DATABASE copies neither a database's rights nor its settings: what the stack's own database has is granted
 * here.
 */
export function databaseRights({ database: stacksOwn }: TestServer, name: string): string {
  const database = identifier(name);
  return `
    ${connectStatements(name)}
    do $$
    begin
      if pg_catalog.has_database_privilege('${ROLES.app}', '${stacksOwn}', 'temporary') then
        grant temporary on database ${database} to ${ROLES.app};
      end if;
    end
    $$;`;
}

/** Makes a database anew under its name: for one that can not be brought back. Nobody may be connected. */
export async function recreateClone({ workers, server }: Registry, name: string, template: Template): Promise<void> {
  await workers.query(`drop database ${identifier(name)}`);
  await workers.query(copyStatement(name, template));
  await workers.query(databaseRights(server, name));
}

/** FILE_COPY is the faster strategy in memory: docs/adr/0050-test-database-speed.md. */
const copyStatement = (name: string, { database }: Template): string =>
  `create database ${identifier(name)} owner ${ROLES.owner} template ${identifier(database)} strategy file_copy`;

const IN_USE = "55006";

/**
 * Makes a returned database ready again, where that is possible: under a name nobody knows, so that whoever had it
 * finds nothing there, and as its template is. One whose objects, rights or template's rows were changed is dropped
 * instead. Emptying takes about half of what a new copy and a drop do: docs/adr/0050-test-database-speed.md.
 *
 * @param holder who has it then; by default nobody, and it is ready
 * @returns its new name; undefined for one that was dropped
 * @throws what failed. The database is the next sweep's then.
 */
export async function recycleClone(
  registry: Registry,
  name: string,
  template: Template,
  holder?: Holder,
): Promise<string | undefined> {
  let current = name;
  try {
    // One with an owner of its own goes with that role, which has its name.
    if (!(await hasOwner(registry, name))) {
      current = await renameUnused(registry, name);
      const fingerprint = await fingerprintOf(registry, template);
      // Looked at in any case: the server's own count of sessions says nothing, as a crash sets it to zero.
      const reset = fingerprint && ((admin: pg.Client) => resetDatabase(admin, fingerprint));
      if (reset && (await asSuperuser(registry.server, current, reset))) {
        await emptied(registry, current, holder);
        return current;
      }
    }
  } catch (error) {
    await disclaim(registry, current);
    throw error;
  }
  await dropClone(registry, current);
  return undefined;
}

/** Gives a database a new name, once nobody is connected. */
async function renameUnused(registry: Registry, name: string): Promise<string> {
  const fresh = newCloneName();
  for (let attempt = 1; ; attempt++) {
    await endSessions(registry, name);
    try {
      await registry.workers.query(`alter database ${name} rename to ${fresh}; ${renamed(name, fresh)}`);
      return fresh;
    } catch (error) {
      // A pool of the one who had it has connected again in between.
      if (!hasCode(error, IN_USE) || attempt > 5) throw error;
    }
  }
}

/** How long sessions of a database that is to go may take to end. */
const SESSIONS_END_MS = 10_000;

/**
 * Makes a copy of a template.
 *
 * @param holder who has it once it is whole; by default nobody, and it is ready
 */
export async function createClone(registry: Registry, template: Template, holder?: Holder): Promise<string> {
  const { workers, server, lease } = registry;
  const name = newCloneName();
  await beginCopy(registry, name, template, holder ?? { label: "", run: "" });
  try {
    await workers.query(copyStatement(name, template));
    await workers.query(`${databaseRights(server, name)} ${endCopy(name, holder ? lease : null)}`);
  } catch (error) {
    await disclaim(registry, name);
    throw error;
  }
  return name;
}

/**
 * Ends every session of a database and lets no new one in. DROP DATABASE … WITH (FORCE) would look again only after 100
 * ms.
 *
 * @param except process numbers of sessions that stay
 */
export async function endSessions({ workers }: Registry, name: string, except: readonly number[] = []): Promise<void> {
  const end = async () => {
    const { rowCount } = await workers.query(
      "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where datname = $1 and pid <> all ($2)",
      [name, except],
    );
    return rowCount === 0 || undefined;
  };
  if (!(await until(end, { deadlineMs: SESSIONS_END_MS, everyMs: 2 })))
    throw new StateError(`Sessions of test database ${name} do not end.`);
}

/**
 * Removes a database this process has a claim on, and its line in the registry.
 *
 * @throws what failed. The database is the next sweep's then.
 */
export async function dropClone(registry: Registry, name: string): Promise<void> {
  try {
    await drop(registry, name);
  } catch (error) {
    await disclaim(registry, name); // else nobody would try again while this process lives
    throw error;
  }
}

async function drop(registry: Registry, name: string): Promise<void> {
  const { workers } = registry;
  const { rows } = await workers.query<{ is_template: boolean; is_invalid: boolean }>(
    "select datistemplate as is_template, datconnlimit = -2 as is_invalid from pg_catalog.pg_database where datname = $1",
    [name],
  );
  const isOwned = await hasOwner(registry, name);
  for (const { is_template, is_invalid } of rows) {
    // A removal that was killed inside the server leaves it invalid: it takes no connection and may only be dropped.
    // https://www.postgresql.org/docs/16/catalog-pg-database.html
    if (!is_invalid) {
      await workers.query(
        `alter database ${identifier(name)} allow_connections false${is_template ? " is_template false" : ""}`,
      );
    }
    await endSessions(registry, name);
    await workers.query(`drop database if exists ${identifier(name)}`);
  }
  await removed(registry, name);
  // What it was given or owns of another database stays until that is gone: the role is the next sweep's then.
  if (isOwned) await dropOwner(registry, name).catch(() => {});
}
