import { basename } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Client } from "pg";
import { StateError, UserError } from "../../base/errors.ts";
import { loginProcessId } from "../../base/node-postgres.ts";
import {
  MIGRATIONS_SCHEMA,
  MIGRATIONS_TABLE,
  pendingMigrations,
  PROTECT_TABLE_SQL,
  QUALIFIED_TABLE,
  readApplied,
  TABLE_STATE_SQL,
  type TableState,
} from "./applied.ts";
import { describeFailure, isDatabaseError, type Progress } from "./failure.ts";
import { frozenDatabase } from "./frozen.ts";
import { FILE_PREFIX, FILE_PREFIX_STATEMENTS, SESSION_SETTINGS } from "./session.ts";
import { refuseTransactionControl, type SqlFile } from "./transactions.ts";
import type { Migration } from "../chain/files.ts";
import { HEADER_KEYS } from "../chain/header.ts";

/** How often migrations are tried when a lock is not to be had. */
const MAX_TRIES = 5;

// node-pg-migrate's own number (its PG_MIGRATE_LOCK_ID), so that its program and ours exclude each other.
const LOCK_ID = 7_241_865_325_823_964n;

const LOCK_NOT_AVAILABLE = "55P03";
const DEADLOCK_DETECTED = "40P01";

/** What {@link applyMigrations} needs. */
export interface ApplyOptions {
  /** Connected directly to the server, as the role that owns the schema. Not in a transaction. */
  readonly client: Client;
  /** The folder that the migrations were read from. It is not read again. */
  readonly folder: string;
  /** Up: the chain up to where the database shall be. Down: the whole chain. */
  readonly migrations: readonly Migration[];
  readonly direction: "up" | "down";
  /** Down only: names of the migrations to take back, the last one applied first. */
  readonly undo?: readonly string[];
  /** Gets one line for each migration and each repeated try. */
  readonly report: (line: string) => void;
  /** When aborted no further try begins; a try that has begun goes on. */
  readonly signal?: AbortSignal;
}

/** Someone else is migrating this database. */
export class MigrationRunningError extends StateError {}

/**
 * Applies all pending migrations, or takes back the last ones, in one transaction and under node-pg-migrate's lock.
 *
 * A lock that is not granted within half a second undoes everything. The run is then tried again, five times in all,
 * with growing pauses in which nothing is held.
 *
 * @returns the names of the migrations that ran, in the order in which they ran; none if nothing was pending.
 * @throws {MigrationRunningError} if another migrator holds the lock.
 * @throws {StateError} through a pooler; if the database is frozen; if the files don't continue what is applied, or
 * control the transaction; if SQL fails. Nothing is changed then.
 * @throws {ToolError} if PostgreSQL's grammar can't be loaded. Nothing is changed then.
 */
export async function applyMigrations(options: ApplyOptions): Promise<{ applied: string[] }> {
  const { client, report } = options;
  // When the connection is lost, the running query fails. Without a listener for the event the process would end too.
  client.on("error", ignore);
  try {
    for (let attempt = 1; ; attempt++) {
      const progress: Progress = { current: undefined, completed: 0 };
      options.signal?.throwIfAborted();
      try {
        return { applied: await runOnce(options, progress) };
      } catch (error) {
        // The first error is shown. An error of the rollback would only say that the connection is gone.
        await client.query("rollback").catch(ignore);
        // A TypeError or RangeError is a bug of ours and keeps its stack.
        if (error instanceof UserError || error instanceof TypeError || error instanceof RangeError) throw error;
        const canWait =
          isDatabaseError(error) && (error.code === LOCK_NOT_AVAILABLE || error.code === DEADLOCK_DETECTED);
        if (!canWait || attempt === MAX_TRIES)
          throw await describeFailure(client, error, progress, canWait ? attempt : undefined);
        const pauseMs = 250 * 2 ** (attempt - 1) * (1 + Math.random() / 2);
        report(
          `${progress.current?.file ?? "migrations"}: ${error.message}; nothing is held meanwhile, try ${attempt + 1} of ${MAX_TRIES} in ${(pauseMs / 1000).toFixed(1)} s`,
        );
        await setTimeout(pauseMs, undefined, options.signal === undefined ? {} : { signal: options.signal });
      }
    }
  } finally {
    client.off("error", ignore);
  }
}

function ignore(): void {}

async function runOnce(options: ApplyOptions, progress: Progress): Promise<string[]> {
  const { client, migrations, direction } = options;
  const state = await begin(client);
  const applied = await readApplied(client, state);
  const pending = pendingMigrations(migrations, applied);
  const toRun = direction === "up" ? pending : lastApplied(migrations.slice(0, applied.length), options.undo ?? []);
  const unrecorded = applied.some(({ checksum }) => checksum === null);
  if (toRun.length > 0 || unrecorded || state.othersMayWrite) {
    if (state.frozen) throw frozenDatabase(client);
    if (toRun.length > 0) await refuseTransactionControl(toRun.map((migration) => fileOf(migration, direction)));
    await prepareTable(client, state);
    if (toRun.length > 0) await runWithNodePgMigrate(options, toRun, progress);
    await recordChecksums(client, migrations);
  }
  progress.current = undefined;
  await client.query("commit");
  return toRun.map(({ name }) => name);
}

/**
 * Opens the transaction, takes the lock and looks for the table, in one round trip.
 *
 * At login a pooler tells its client a process id that is not the server's. Then no lock is taken. The lock ends with
 * the transaction, so that no failure leaves it behind.
 */
async function begin(client: Client): Promise<TableState & { readonly frozen: boolean }> {
  const processId = loginProcessId(client) ?? -1;
  const results = (await client.query(
    `begin isolation level read committed;
    ${SESSION_SETTINGS}
    select case when pg_backend_pid() = ${processId} then pg_try_advisory_xact_lock(${LOCK_ID}) end as locked,
      current_setting('transaction_read_only') = 'on' as frozen;
    ${TABLE_STATE_SQL}`,
  )) as unknown as { rows: unknown[] }[];
  const [{ locked, frozen }, state] = results.flatMap(({ rows }) => rows) as [
    { locked: boolean | null; frozen: boolean },
    TableState,
  ];
  if (locked === null) {
    throw new StateError("Migrations can't run through a connection pooler; nothing was changed:", [
      {
        subject: `${client.host}:${client.port}`,
        problem: "hands out server connections of its own, so that locks and settings would reach other clients.",
        remedy: "Use PostgreSQL's direct address (`aiwdb url --stack <stack> --role ai_workflow_owner --mode direct`).",
      },
    ]);
  }
  if (!locked) throw await alreadyRunning(client);
  return { ...state, frozen };
}

async function alreadyRunning(client: Client): Promise<MigrationRunningError> {
  // A bigint key is split in two 32-bit halves: https://www.postgresql.org/docs/16/view-pg-locks.html
  const { rows } = await client.query<{ pid: number; application: string | null; role: string | null }>(
    `select pid, application_name as application, usename as role
    from pg_catalog.pg_locks left join pg_catalog.pg_stat_activity using (pid)
    where locktype = 'advisory' and granted and objsubid = 1
      and classid = ${LOCK_ID >> 32n} and objid = ${LOCK_ID & 0xffff_ffffn}
      and database = (select oid from pg_catalog.pg_database where datname = current_database())`,
  );
  const holders = rows.map(({ pid, application, role }) => ({
    subject: `process ${pid}`,
    problem: `holds the lock of migrations (application ${JSON.stringify(application ?? "")}, role ${role ?? "unknown"}).`,
  }));
  const [holder = { subject: "its process", problem: "has just ended." }] = holders;
  return new MigrationRunningError("Another migration is already running in this database; nothing was changed:", [
    { ...holder, remedy: "Wait until it has ended and run the command again." },
  ]);
}

/**
 * The migrations to take back, if they are still the last ones: another rollback or `up` may have run since they were
 * chosen.
 */
function lastApplied(done: readonly Migration[], undo: readonly string[]): Migration[] {
  // node-pg-migrate takes a count of 0 as "all", so it must never get an empty list.
  const last = undo.length === 0 ? [] : done.slice(-undo.length).toReversed();
  if (last.length !== undo.length || last.some(({ name }, index) => name !== undo[index])) {
    throw new StateError("The database has changed since the rollback was planned; nothing was changed:", [
      {
        subject: "last applied",
        problem: `${done.at(-1)?.name ?? "none"}, not ${undo[0]}.`,
        remedy: "Run the command again and look at what it will take back.",
      },
    ]);
  }
  refuseIrreversible(last);
  return last;
}

/**
 * Refuses to take back migrations that have no down file.
 *
 * @throws {StateError} naming each of them, with the reason that its header gives.
 */
export function refuseIrreversible(migrations: readonly Migration[]): void {
  const problems = migrations
    .filter(({ down }) => down === undefined)
    .map(({ name, header }) => ({
      subject: name,
      problem: header[HEADER_KEYS.irreversible] ?? "has no down file.",
      remedy: "Roll back to it at most, or restore a backup.",
    }));
  if (problems.length > 0) {
    throw new StateError("Some of the migrations can't be undone; nothing was changed:", problems);
  }
}

function fileOf(migration: Migration, direction: "up" | "down"): SqlFile {
  return direction === "up"
    ? { file: basename(migration.upPath), sql: migration.up }
    : { file: basename(migration.downPath ?? ""), sql: migration.down ?? "" };
}

async function prepareTable(client: Client, { hasTable, hasChecksum }: TableState): Promise<void> {
  if (!hasTable) {
    // The table as node-pg-migrate would create it, and our column `checksum`.
    await client.query(
      `create table ${QUALIFIED_TABLE} (
        id serial primary key, name varchar(255) not null, run_on timestamp not null, checksum text
      );
      ${PROTECT_TABLE_SQL}`,
    );
  } else if (!hasChecksum) {
    await client.query(`alter table ${QUALIFIED_TABLE} add column checksum text`);
  }
  if (hasTable) {
    // node-pg-migrate orders by run_on. After a clock has gone back it would refuse every later run, or take back the
    // wrong migrations.
    await client.query(
      `update ${QUALIFIED_TABLE} as applied set run_on = ordered.run_on
      from (select id, max(run_on) over (order by id) as run_on from ${QUALIFIED_TABLE}) as ordered
      where applied.id = ordered.id and applied.run_on <> ordered.run_on;
      ${PROTECT_TABLE_SQL}`,
    );
  }
}

async function runWithNodePgMigrate(
  { client, folder, migrations, direction, report }: ApplyOptions,
  toRun: readonly Migration[],
  progress: Progress,
): Promise<void> {
  // Loaded only when there is something to do, as it brings a TypeScript loader and a glob engine.
  const { runner } = await import("node-pg-migrate");
  const action =
    (migration: Migration, way: "up" | "down") => (pgm: { noTransaction(): void; sql(sql: string): void }) => {
      progress.current = fileOf(migration, way);
      progress.completed = -FILE_PREFIX_STATEMENTS;
      report(`${way === "up" ? "applying" : "taking back"} ${migration.name}`);
      // Our own transaction is around all migrations.
      pgm.noTransaction();
      pgm.sql(FILE_PREFIX + progress.current.sql);
    };
  // A file is sent as one query of several statements. Errors at run time have no position in it, but the server
  // confirms each statement that is done.
  const countStatement = () => void progress.completed++;
  client.connection.on("commandComplete", countStatement);
  try {
    await runner({
      dbClient: client,
      dir: folder,
      migrationsSchema: MIGRATIONS_SCHEMA,
      migrationsTable: MIGRATIONS_TABLE,
      direction,
      count: toRun.length,
      checkOrder: true,
      singleTransaction: false,
      noLock: true,
      // Runs the SQL that was read, checked and shown; the files may hold something else by now.
      migrationLoaderStrategies: [
        {
          extensions: [".sql"],
          loader: () =>
            Promise.resolve(
              migrations.map((migration) => ({
                id: `${migration.name}.sql`,
                filePaths: [migration.upPath],
                actions: { up: action(migration, "up"), down: action(migration, "down") },
              })),
            ),
        },
      ],
      // Its lines repeat the report, warn of the missing transaction, and print whole files on errors.
      logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    });
  } finally {
    client.connection.off("commandComplete", countStatement);
  }
}

/** Also fills the checksums of migrations that node-pg-migrate's own program has applied. */
async function recordChecksums(client: Client, migrations: readonly Migration[]): Promise<void> {
  await client.query(
    `update ${QUALIFIED_TABLE} as applied set checksum = file.checksum
    from unnest($1::text[], $2::text[]) as file (name, checksum)
    where applied.name = file.name and applied.checksum is null`,
    [migrations.map(({ name }) => name), migrations.map(({ checksum }) => checksum)],
  );
}
