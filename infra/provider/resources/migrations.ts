import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { StateError } from "../../../base/errors.ts";
import { QUALIFIED_TABLE } from "../../../migrate/run/applied.ts";
import { type Migration, readMigrations } from "../../../migrate/chain/files.ts";
import { readManifested } from "../../../migrate/chain/manifest.ts";
import { describePhases } from "../../../migrate/chain/phases.ts";
import { POOLED_ROLES, ROLES } from "../../../database/access/roles.ts";
import { loginProcessId } from "../../../base/node-postgres.ts";
import { withConnection, type Connection } from "../../../database/connection.ts";
import { engine } from "../../../toolchain/engine/containers.ts";
import { reconnect } from "../../servers/pgbouncer/console.ts";
import type { Pooler } from "../../settings/listeners.ts";
import { defaultPrivileges } from "../../../database/access/rights.ts";
import {
  changedProperties,
  UNKNOWN,
  type Failure,
  type Operation,
  type Planned,
  type Reporter,
  type ResourceType,
} from "../resource.ts";

export interface MigrationsInputs {
  /** The owner's, directly to the server; secret. */
  readonly connection: Connection;
  /** Not compared: every clone has its own. */
  readonly folder: string;
  /** Has its server connections renewed after SQL ran; not compared. */
  readonly pooler?: Pooler;
  /** Names in order. */
  readonly migrations: readonly string[];
  /** By name, over the SQL without comments and white space. */
  readonly checksums: Readonly<Record<string, string>>;
}

type State = Partial<MigrationsInputs>;
/** Known in every preview: they are read from files. */
type Wanted = Pick<MigrationsInputs, "folder" | "migrations" | "checksums">;

const isKnown = (news: Planned<MigrationsInputs>): news is Planned<MigrationsInputs> & Wanted =>
  news.folder !== UNKNOWN && news.migrations !== UNKNOWN && news.checksums !== UNKNOWN;

/** Names in `news` that the state does not have. */
function pending({ migrations: applied = [] }: State, news: Wanted): string[] {
  return news.migrations.filter((name) => !applied.includes(name));
}

/** Says what is pending. Reads the files only where something is: a preview without changes has to be quick. */
function reportPending(olds: State, news: Wanted, report: Reporter): void {
  const all = readMigrations(path.resolve(news.folder));
  for (const line of describePhases(all, new Set(news.migrations), new Set(olds.migrations))) report.info(line);
}

/** What no run could do: applied files that changed or vanished, and a phase below the one reached. */
function refused({ migrations: applied = [], checksums = {} }: State, news: Wanted): Failure[] {
  const changed = applied.filter((name) => {
    const [before, now] = [checksums[name], news.checksums[name]];
    return now !== undefined && before !== undefined && before !== now;
  });
  const failures = changed.map((name) => ({
    property: name,
    reason:
      "its SQL was changed after it had been applied. Restore the file (only comments and white space may change) and put the change into a new migration: `aiwdb migrate new`.",
  }));
  const missing = applied.filter((name) => !news.migrations.includes(name));
  if (missing.length === 0) return failures;
  const reason =
    `the database already has ${missing.join(", ")}, which this stack does not want: rolloutPhase was lowered or files were removed. ` +
    "Nothing is undone by `up`; roll back first with `aiwdb rollback --stack <stack> --to <migration>`, or raise rolloutPhase again.";
  return [...failures, { property: "migrations", reason }];
}

/** @throws {StateError} if a file is not the one that the program has read for these inputs. */
async function apply(news: MigrationsInputs, operation: Operation): Promise<void> {
  const migrations = readManifested(path.resolve(news.folder), news);
  try {
    await withConnection(news.connection, (client) =>
      stoppable(news.connection, client, operation.signal, () => migrate(client, news.folder, migrations, operation)),
    );
  } finally {
    // Also after a run that failed: what it applied before stays.
    await renewConnections(news.pooler, operation);
  }
}

async function renewConnections(pooler: Pooler | undefined, { report, signal }: Operation): Promise<void> {
  const notDone = pooler && (await reconnect(engine(), pooler, signal));
  if (notDone !== undefined)
    report.warn(
      `${pooler?.container} did not renew its server connections (${notDone}); until it does, clients may be refused with "cached plan must not change result type". Restart it, or say RECONNECT at its console.`,
    );
}

async function migrate(
  client: Client,
  folder: string,
  migrations: readonly Migration[],
  { report, signal }: Operation,
): Promise<void> {
  // Only a run that applies something pays for loading the runner.
  const { applyMigrations } = await import("../../../migrate/run/runner.ts");
  // Any role can take itself out of them (DROP OWNED BY itself), and would get no right to what is made from then on.
  await client.query(defaultPrivileges(ROLES.owner));
  const todo = { client, folder: path.resolve(folder), migrations, direction: "up" as const };
  await applyMigrations({ ...todo, report: report.status, signal });
  await makePartitions(client, report);
  // Default privileges let the application write to every table of the owner's; this one is not the application's.
  await client.query(`revoke all on ${QUALIFIED_TABLE} from ${POOLED_ROLES.join(", ")}`);
}

const CANCEL_EVERY_MS = 200;

/**
 * Runs work, and ends its statements when the user stops Pulumi. Otherwise the server would go on with them after its
 * client has gone.
 */
async function stoppable(
  connection: Connection,
  client: Client,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  const ended = new AbortController();
  const stop = async () => {
    const pid = loginProcessId(client);
    // Again and again: between two statements there is nothing to cancel.
    while (!ended.signal.aborted) {
      await withConnection(connection, (other) => other.query("select pg_catalog.pg_cancel_backend($1)", [pid])).catch(
        () => client.end(), // then the server notices that its client is gone
      );
      await sleep(CANCEL_EVERY_MS);
    }
  };
  const onCancel = () => void stop();
  signal.addEventListener("abort", onCancel);
  try {
    await work();
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new StateError("Cancelled; no migration of this run stays, and the next `up` goes on from here.", [], {
      cause: error,
    });
  } finally {
    ended.abort();
    signal.removeEventListener("abort", onCancel);
  }
}

/**
 * Makes this month's partitions of the logs, so that a new stack does not write into the default ones. The maintenance
 * makes the next months'. Each log has a transaction of its own, because others may be using the logs.
 */
async function makePartitions(client: Client, report: Reporter): Promise<void> {
  const { rows: present } = await client.query(
    "select from pg_catalog.pg_proc where oid = to_regprocedure('maintenance.try_partitions(integer, regclass)')",
  );
  if (present.length === 0) return; // comes with phase 4
  const { rows: logs } = await client.query<{ log: string }>(
    "select distinct format('%I.%I', parent_schema, parent_table) as log from maintenance.partitions order by 1",
  );
  for (const { log } of logs) {
    const { rows } = await client.query<{ problem: string | null }>(
      "select problem from maintenance.try_partitions(0, $1::regclass) where problem is not null",
      [log],
    );
    for (const { problem } of rows)
      report.warn(`no partition for this month in ${log}: ${problem}; \`aiwdb maintain\` for this stack makes it`);
  }
}

/**
 * The migrations of a database. node-pg-migrate applies them as the owner over a direct connection.
 *
 * The preview lists what is pending, phase by phase. It stops at an applied file that changed. `create` and `update`
 * stop before they touch the database if a file has changed since the program read it. Deleting the resource leaves the
 * database as it is.
 */
export const migrations: ResourceType<MigrationsInputs> = {
  check(news, olds, { report }) {
    if (!isKnown(news)) return [];
    // A new stack has nothing to differ from, so it is told here.
    if (olds.migrations === undefined) reportPending(olds, news, report);
    return refused(olds, news);
  },
  diff(olds, news, { report }) {
    if (!isKnown(news)) return { changed: ["migrations"] };
    const names = pending(olds, news);
    if (names.length > 0) reportPending(olds, news, report);
    // The state needs a new password too: a refresh logs in with what it has.
    const { connection } = news;
    const reconnected = connection !== UNKNOWN && changedProperties(olds, news).includes("connection");
    const moved = connection !== UNKNOWN && olds.connection?.database !== connection?.database;
    return {
      changed: [...(names.length > 0 ? ["migrations"] : []), ...(reconnected ? ["connection"] : [])],
      replaces: moved ? ["connection"] : [],
    };
  },
  async create(inputs, operation) {
    await apply(inputs, operation);
    return { id: inputs.connection.database, outputs: {} };
  },
  async read(_id, state) {
    const { readApplied } = await import("../../../migrate/run/applied.ts");
    const rows = await withConnection(state.connection, (client) => readApplied(client));
    const checksums = rows.flatMap(({ name, checksum }) => {
      const known = checksum ?? state.checksums?.[name];
      return known === undefined ? [] : [[name, known]];
    });
    return { ...state, migrations: rows.map(({ name }) => name), checksums: Object.fromEntries(checksums) };
  },
  async update(_id, olds, news, operation) {
    if (pending(olds, news).length > 0) await apply(news, operation);
  },
};
