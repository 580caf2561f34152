import { hostname } from "node:os";
import { StateError, UsageError } from "../../base/errors.ts";
import { processStart } from "../../base/process-identity.ts";
import type { ClientRole } from "../../database/access/roles.ts";
import type { Phase } from "../../migrate/chain/phases.ts";
import type { TestConnection } from "../description/connection.ts";
import type { TestMode } from "../description/server.ts";
import { dropClone } from "../pool/clones.ts";
import { claimHeld, handOver, keepTaken, renew } from "../pool/states.ts";
import { readSource } from "../pool/template.ts";
import { labelOf } from "./labels.ts";
import { withRegistry } from "./process.ts";
import { describeWay, giveBack, refuseUnreachable, takeDatabase, type Way } from "./take.ts";
import { KEEP_SEC } from "./taken.ts";

/**
 * What a database for somebody else is like. Its holder has no connection to the registry. So the database is dropped
 * when a process ends or when a time is over, whichever comes first.
 */
export interface HeldOptions extends Way {
  /** Text for `aiwdb testdb list`; at most 200 characters. @default - empty */
  readonly label?: string;
  /** Run of a suite that it belongs to, for the leak report. @default - none */
  readonly run?: string;
  /** Last rollout phase that is applied. @default 4 */
  readonly phase?: Phase | undefined;
  /** Path of an SQL file that fills the template. @default - none */
  readonly seed?: string | undefined;
  /** Process of this machine. The database is dropped when it ends. @default - none */
  readonly pid?: number | undefined;
  /** Seconds until the database is dropped. @default - no limit */
  readonly ttlSec?: number | undefined;
}

/** A database that was handed out, and how to connect to it. */
export interface HeldDatabase extends Pick<TestConnection, "url" | "env"> {
  readonly name: string;
}

/** One line of `aiwdb testdb list`. */
export interface ListedDatabase {
  readonly name: string;
  /** State in testdb.clone, such as `ready`, `taken` or `kept`. */
  readonly state: string;
  /** Who has it: a process, a connection's application_name, or an empty text for nobody. */
  readonly holder: string;
  readonly label: string;
  readonly run: string;
  /** Seconds since it was taken; since it was made if nobody has taken it. */
  readonly ageSec: number;
  /** Seconds until it is dropped; null if no time is set. */
  readonly expiresInSec: number | null;
  /** Connections that are open in it. */
  readonly sessions: number;
  /** Key of its template. */
  readonly template: string;
}

/**
 * Takes a database for somebody else.
 *
 * @throws UsageError when there is no process `pid`, or when the options exclude each other
 * @throws StateError when there is no server for tests, or with the error of a migration or seed that fails
 */
export function createHeld(server: string, options: HeldOptions): Promise<HeldDatabase> {
  return withRegistry(server, async (registry) => {
    const { pid } = options;
    const start = pid === undefined ? undefined : processStart(pid);
    if (pid !== undefined && start === undefined) {
      throw new UsageError(`There is no process ${pid}.`, {
        subject: "pid",
        problem: "the database would be dropped at once",
      });
    }
    refuseUnreachable(registry, options);
    const source = readSource(registry.server, { phase: options.phase, seed: options.seed });
    const holder = { label: labelOf(options.label ?? ""), run: options.run ?? "" };
    const taken = await takeDatabase(registry, source, holder, options);
    const { name } = taken;
    try {
      const host = pid === undefined ? undefined : hostname();
      await handOver(registry, name, { pid, start, host, seconds: options.ttlSec });
      const { url, env } = describeWay(registry.server, taken, options);
      return { name, url, env };
    } catch (error) {
      // Nobody else knows of the database, and this process may live as long as the server. The caller gets the error
      // above.
      await giveBack(registry, name).catch(() => {});
      throw error;
    }
  });
}

/** Drops a taken or kept database. @returns false if there is none of that name */
export function dropByName(server: string, name: string): Promise<boolean> {
  return withRegistry(server, async (registry) => {
    if (!(await claimHeld(registry, name))) return false;
    await dropClone(registry, name);
    await registry.query("select testdb.restore_roles()");
    return true;
  });
}

/**
 * Sets the seconds until a database is dropped, counted from now. A database without a time limit goes with its holder
 * and gets no limit.
 *
 * @returns false if nobody has a database of that name
 */
export function renewByName(server: string, name: string, seconds: number): Promise<boolean> {
  return withRegistry(server, (registry) => renew(registry, name, seconds));
}

/**
 * Keeps a failed test's database for 30 minutes, even if its process ends.
 *
 * @returns false if nobody has a database of that name
 */
export function keepByName(server: string, name: string, why: string): Promise<boolean> {
  return withRegistry(server, (registry) => keepTaken(registry, name, KEEP_SEC, labelOf(why)));
}

/**
 * How to connect to a database that is taken or kept.
 *
 * @throws StateError when there is none of that name
 */
export function addressOf(server: string, name: string, role: ClientRole, mode: TestMode): Promise<HeldDatabase> {
  return withRegistry(server, async (registry) => {
    const found = "select from testdb.clone where name = $1 and state in ('taken', 'kept')";
    if ((await registry.query(found, [name])).rowCount === 0) {
      throw new StateError(`There is no test database ${name}.`, {
        subject: server,
        problem: "nobody has one of that name now",
        remedy: `See \`npx aiwdb testdb list --name ${server}\`.`,
      });
    }
    const { url, env } = describeWay(registry.server, { name }, { role, mode });
    return { name, url, env };
  });
}

/** Every test database of a server: who has it, since when and until when. */
export function listDatabases(server: string): Promise<ListedDatabase[]> {
  return withRegistry(server, async ({ query }) => {
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
  });
}
