import { hostname } from "node:os";
import { type ClientRole, ROLES } from "../../database/access/roles.ts";
import { StateError, UsageError } from "../../base/errors.ts";
import type { Phase } from "../../migrate/chain/phases.ts";
import { processStart } from "../../base/process-identity.ts";
import { disclaim, dropClone } from "../pool/clones.ts";
import { labelOf } from "./labels.ts";
import { giveOwner, ownerConnection } from "../pool/owners.ts";
import { openRegistry, type Registry } from "../pool/registry.ts";
import { connectionTo, readServer, type TestMode } from "../server/server.ts";
import { sweepUnkept } from "../pool/sweep.ts";
import { takeDatabase } from "../pool/takes.ts";
import { ensureTemplate, readSource } from "../pool/template.ts";
import { describe, giveBack, KEEP_SEC, refuseOwnersRole } from "./test-database.ts";

/** A database whose holder has no connection to the registry: a process of this machine, a time, or both. */
export interface HeldOptions {
  readonly label?: string;
  readonly run?: string;
  readonly role?: ClientRole;
  readonly mode?: TestMode;
  readonly phase?: Phase | undefined;
  /** Path of an SQL file. */
  readonly seed?: string | undefined;
  /** Under a role of its own that owns it. */
  readonly owner?: boolean | undefined;
  readonly pid?: number | undefined;
  readonly ttlSec?: number | undefined;
}

export interface HeldDatabase {
  readonly name: string;
  readonly url: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** One line of `aiwdb testdb list`. */
export interface ListedDatabase {
  readonly name: string;
  readonly state: string;
  /** Who has it: a process, its connection, or nobody. */
  readonly holder: string;
  readonly label: string;
  readonly run: string;
  readonly ageSec: number;
  readonly expiresInSec: number | null;
  readonly sessions: number;
  readonly template: string;
}

const registries = new Map<string, Promise<Registry>>();

/** One registry per process and server, opened again when its connection was lost. */
async function registryOf(name: string): Promise<Registry> {
  const server = readServer(name);
  const known = registries.get(name);
  const opened = await known?.catch(() => undefined); // who opened it was told; it is opened again
  if (opened?.isOpen()) return opened;
  if (registries.get(name) === known) {
    registries.set(
      name,
      openRegistry(server).then((registry) => {
        sweepUnkept(registry);
        return registry;
      }),
    );
  }
  return registries.get(name) as Promise<Registry>;
}

/** Closes what `createHeld` and its neighbours opened. */
export async function closeHolders(): Promise<void> {
  const open = [...registries.values()];
  registries.clear();
  for (const opened of await Promise.allSettled(open)) if (opened.status === "fulfilled") await opened.value.close();
}

/** Takes a database for somebody else. */
export async function createHeld(name: string, options: HeldOptions): Promise<HeldDatabase> {
  const registry = await registryOf(name);
  const start = options.pid === undefined ? undefined : processStart(options.pid);
  if (options.pid !== undefined && start === undefined) {
    throw new UsageError(`There is no process ${options.pid}.`, [
      { subject: "pid", problem: "the database would be dropped at once" },
    ]);
  }
  const role = options.role ?? ROLES.app;
  const mode = options.mode ?? "direct";
  refuseOwnersRole(options);
  connectionTo(registry.server, "", role, mode); // refuses what there is no way to, before anything is taken
  const source = readSource(registry.server, { phase: options.phase, seed: options.seed });
  const template = await ensureTemplate(registry, source);
  const database = await takeDatabase(registry, template, {
    label: labelOf(options.label ?? ""),
    run: options.run ?? "",
  });
  try {
    const password = options.owner ? await giveOwner(registry, database) : undefined;
    // From here on it is theirs, not this process'.
    await registry.query(
      `update testdb.clone set lease = null, holder_pid = $2, holder_start = $3, holder_host = $4, expires_at = now() + make_interval(secs => $5)
        where name = $1`,
      [
        database,
        options.pid ?? null,
        start ?? null,
        options.pid === undefined ? null : hostname(),
        options.ttlSec ?? null,
      ],
    );
    const connection = describe(
      password === undefined
        ? connectionTo(registry.server, database, role, mode)
        : ownerConnection(registry.server, database, password),
    );
    return { name: database, url: connection.url, env: connection.env };
  } catch (error) {
    // Nobody else knows of it, and this process may live as long as the server.
    await giveBack(registry, database).catch(() => {}); // the error of the take is told
    throw error;
  }
}

/** Drops a taken or kept database; false if there is none of that name. */
export async function dropByName(name: string, database: string): Promise<boolean> {
  const registry = await registryOf(name);
  const { rowCount } = await registry.query(
    "update testdb.clone set state = 'dropping', lease = $2 where name = $1 and state in ('taken', 'kept')",
    [database, registry.lease],
  );
  if (!rowCount) return false;
  try {
    await dropClone(registry, database);
    await registry.query("select testdb.restore_roles()");
  } catch (error) {
    await disclaim(registry, database); // else nobody would try again while this process lives
    throw error;
  }
  return true;
}

/** Gives a database more time, if it has an end; one that goes with its holder has none, and gets none. */
export async function renewByName(name: string, database: string, seconds: number): Promise<boolean> {
  const registry = await registryOf(name);
  const { rowCount } = await registry.query(
    "update testdb.clone set expires_at = case when expires_at is null then null else now() + make_interval(secs => $2) end where name = $1 and state in ('taken', 'kept')",
    [database, seconds],
  );
  return Boolean(rowCount);
}

/** Keeps a failed test's database for a while, whatever becomes of its process. */
export async function keepByName(name: string, database: string, why: string): Promise<boolean> {
  const registry = await registryOf(name);
  const { rowCount } = await registry.query(
    `update testdb.clone set state = 'kept', lease = null, holder_pid = null, label = $3, expires_at = now() + make_interval(secs => $2)
      where name = $1 and state = 'taken'`,
    [database, KEEP_SEC, labelOf(why)],
  );
  return Boolean(rowCount);
}

/** How to connect to a database that is taken or kept. */
export async function addressOf(
  name: string,
  database: string,
  role: ClientRole,
  mode: TestMode,
): Promise<HeldDatabase> {
  const registry = await registryOf(name);
  const { rows } = await registry.query("select from testdb.clone where name = $1 and state in ('taken', 'kept')", [
    database,
  ]);
  if (rows.length === 0) {
    throw new StateError(`There is no test database ${database}.`, [
      {
        subject: name,
        problem: "nobody has one of that name now",
        remedy: `See \`npx aiwdb testdb list --name ${name}\`.`,
      },
    ]);
  }
  const connection = describe(connectionTo(registry.server, database, role, mode));
  return { name: database, url: connection.url, env: connection.env };
}

/** Every test database of a server: who holds it, since when, until when. */
export async function listDatabases(name: string): Promise<ListedDatabase[]> {
  const { query } = await registryOf(name);
  const { rows } = await query<ListedDatabase>(
    `select name, state, label, run, template,
            case
              when holder_pid is not null then format('process %s on %s', holder_pid, holder_host)
              when lease is not null and testdb.is_held(1, lease) then
                (select application_name
                   from pg_catalog.pg_locks join pg_catalog.pg_stat_activity using (pid)
                  where locktype = 'advisory' and classid = 1 and objid = lease::oid and objsubid = 2 limit 1)
              when lease is not null then 'a process that has ended'
              else ''
            end as holder,
            extract(epoch from now() - coalesce(taken_at, created_at))::integer as "ageSec",
            extract(epoch from expires_at - now())::integer as "expiresInSec",
            (select count(*)::integer from pg_catalog.pg_stat_activity where datname = name) as sessions
       from testdb.clone order by state, created_at`,
  );
  return rows;
}
