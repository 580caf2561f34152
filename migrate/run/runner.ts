import { basename } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Client, DatabaseError } from "pg";
import { messageOf, type Problem, StateError } from "../../base/errors.ts";
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
import type { Migration } from "../chain/files.ts";
import { HEADER_KEYS } from "../chain/header.ts";
import { lineAt, offsetOfPosition, splitStatements } from "../chain/statements.ts";

/** How long a statement of a migration waits for a lock. Readers that queue behind it wait as long. */
const LOCK_TIMEOUT_MS = 500;
/** How often migrations are tried when a lock is not to be had. */
const MAX_TRIES = 5;

// node-pg-migrate's own number (its PG_MIGRATE_LOCK_ID), so that its program and ours exclude each other.
const LOCK_ID = 7_241_865_325_823_964n;
/**
 * A migrator that is killed leaves its server process in the middle of a statement; it shall notice within seconds and let go of its
 * locks: https://www.postgresql.org/docs/16/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
 */
const SETTINGS = [
  `lock_timeout = ${LOCK_TIMEOUT_MS}`,
  "search_path = public",
  "client_connection_check_interval = 2000",
  // What the same file would mean something else by: a role, or the database's owner, may have set them for every session.
  "standard_conforming_strings = on",
  "transform_null_equals = off",
  "check_function_bodies = on",
  "xmloption = content",
  "datestyle = iso, mdy",
  "intervalstyle = postgres",
]
  .map((setting) => `set local ${setting}; `)
  .join("");
/** What a file set, even with SET LOCAL, would hold for all files after it, which must not depend on what ran before in the same run. */
const FILE_PREFIX = `reset all; ${SETTINGS}`;
const FILE_PREFIX_STATEMENTS = splitStatements(FILE_PREFIX).length;

const LOCK_NOT_AVAILABLE = "55P03";
const DEADLOCK_DETECTED = "40P01";

/** What {@link applyMigrations} needs. */
export interface ApplyOptions {
  /** Connected directly to the server, as the role that owns the schema. Not in a transaction. */
  readonly client: Client;
  /** The folder that the migrations were read from. */
  readonly folder: string;
  /** Up: the chain up to where the database shall be. Down: the whole chain. */
  readonly migrations: readonly Migration[];
  readonly direction: "up" | "down";
  /** Down only: names of the migrations to take back, the last one applied first. */
  readonly undo?: readonly string[];
  /** Gets one line for each migration and each repeated try. */
  readonly report: (line: string) => void;
  /** Begins no further try when aborted. */
  readonly signal?: AbortSignal;
}

/** Someone else is migrating this database. */
export class MigrationRunningError extends StateError {}

/**
 * Applies all pending migrations, or takes back the last ones, in one transaction and under node-pg-migrate's lock.
 *
 * A lock that is not granted in half a second undoes everything; that is tried five times in all, with growing pauses in
 * which nothing is held.
 *
 * @returns the names of the migrations that ran, in the order in which they ran; none if nothing was pending.
 * @throws {MigrationRunningError} if another migrator holds the lock.
 * @throws {StateError} through a pooler; if the files don't continue what is applied; if SQL fails. Nothing is changed then.
 */
export async function applyMigrations(options: ApplyOptions): Promise<{ applied: string[] }> {
  const { client, report } = options;
  // A lost connection fails the query that runs, which tells it; without a listener it would end the process as well.
  client.on("error", ignore);
  try {
    for (let attempt = 1; ; attempt++) {
      const progress: Progress = { current: undefined, completed: 0 };
      options.signal?.throwIfAborted();
      try {
        return { applied: await runOnce(options, progress) };
      } catch (error) {
        // The first error is the one to show; a rollback that fails too only says that the connection is gone.
        await client.query("rollback").catch(ignore);
        // A TypeError or RangeError is a bug of ours and keeps its stack.
        if (error instanceof StateError || error instanceof TypeError || error instanceof RangeError) throw error;
        const canWait =
          isDatabaseError(error) && (error.code === LOCK_NOT_AVAILABLE || error.code === DEADLOCK_DETECTED);
        if (!canWait || attempt === MAX_TRIES) throw await describe(client, error, progress, canWait);
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

/** Which file runs and how many of its statements are done. */
interface Progress {
  current: { readonly file: string; readonly sql: string } | undefined;
  completed: number;
}

async function runOnce(options: ApplyOptions, progress: Progress): Promise<string[]> {
  const { client, migrations, direction } = options;
  const state = await begin(client);
  const applied = await readApplied(client, state);
  const pending = pendingMigrations(migrations, applied);
  const toRun = direction === "up" ? pending : lastApplied(migrations.slice(0, applied.length), options.undo ?? []);
  const unrecorded = applied.some(({ checksum }) => checksum === null);
  if (toRun.length > 0 || unrecorded || state.othersMayWrite) {
    if (state.frozen) throw frozenDatabase(client);
    refuseTransactionControl(toRun, direction);
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
 * Behind a pooler the process id the client was told at login is the pooler's invention; then no lock is taken. The lock is the
 * transaction's, so that no failure leaves it behind.
 */
async function begin(client: Client): Promise<TableState & { readonly frozen: boolean }> {
  const processId = loginProcessId(client) ?? -1;
  const results = (await client.query(
    `begin isolation level read committed;
    ${SETTINGS}
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

/**
 * Keeps off a database that somebody froze, before anything is prepared for a change.
 *
 * @throws StateError
 */
export async function refuseFrozenDatabase(client: Client): Promise<void> {
  const { rows } = await client.query<{ frozen: boolean }>(
    "select current_setting('transaction_read_only') = 'on' as frozen",
  );
  if (rows[0]?.frozen) throw frozenDatabase(client);
}

/** Somebody said on purpose that nothing is to be written; a transaction could say otherwise, and would go over their head. */
export function frozenDatabase(client: Client): StateError {
  return new StateError("The database is frozen; nothing was changed:", [
    {
      subject: client.database ?? "database",
      problem: "takes no changes: default_transaction_read_only is on for it, its role or its server.",
      remedy:
        "`aiwdb status` says where. When changes are allowed again, take it back there, as by " +
        "`begin read write; alter database … reset default_transaction_read_only; commit`.",
    },
  ]);
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
  const holder = rows[0];
  return new MigrationRunningError("Another migration is already running in this database; nothing was changed:", [
    {
      subject: holder ? `process ${holder.pid}` : "its process",
      problem: holder
        ? `holds the lock of migrations (application ${JSON.stringify(holder.application ?? "")}, role ${holder.role ?? "unknown"}).`
        : "has just ended.",
      remedy: "Wait until it has ended and run the command again.",
    },
  ]);
}

/** The migrations to take back, if they are still the last ones: another rollback or `up` may have run since they were chosen. */
function lastApplied(done: readonly Migration[], undo: readonly string[]): Migration[] {
  // node-pg-migrate takes a count of 0 as "all"; so an empty list must never get there.
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
  const irreversible = last.filter(({ down }) => down === undefined);
  if (irreversible.length > 0) {
    throw new StateError(
      "Some of the migrations can't be undone; nothing was changed:",
      irreversible.map(({ name, header }) => ({
        subject: name,
        problem: header[HEADER_KEYS.irreversible] ?? "has no down file.",
      })),
    );
  }
  return last;
}

const TRANSACTION_CONTROL =
  /^(?:begin|start\s+transaction|commit|end|rollback(?!\s+to)|abort|prepare\s+transaction)\b/i;

/** `commit` in a file would end the transaction around all of them, and with it the lock: half a chain could stay behind. */
function refuseTransactionControl(toRun: readonly Migration[], direction: "up" | "down"): void {
  const problems = toRun.flatMap((migration): Problem[] => {
    const { file, sql } = fileOf(migration, direction);
    return splitStatements(sql)
      .filter(({ text }) => TRANSACTION_CONTROL.test(text))
      .map(({ text, start }) => ({
        subject: `${file}:${lineAt(sql, start)}`,
        problem: `\`${text}\` would end the transaction in which all migrations run.`,
        remedy: "Delete it.",
      }));
  });
  if (problems.length > 0)
    throw new StateError("Migration files control the transaction; nothing was changed:", problems);
}

function fileOf(migration: Migration, direction: "up" | "down"): { file: string; sql: string } {
  return direction === "up"
    ? { file: basename(migration.upPath), sql: migration.up }
    : { file: basename(migration.downPath ?? ""), sql: migration.down ?? "" };
}

async function prepareTable(client: Client, { hasTable, hasChecksum }: TableState): Promise<void> {
  if (!hasTable) {
    // As node-pg-migrate would create it, and the column it lacks.
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
    // node-pg-migrate orders by run_on; after a clock that went back it would refuse for ever, or take back the wrong ones.
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
  // Loaded only when there is something to do: it brings a TypeScript loader and a glob engine, and previews import this module.
  const { runner } = await import("node-pg-migrate");
  const action =
    (migration: Migration, way: "up" | "down") => (pgm: { noTransaction(): void; sql(sql: string): void }) => {
      progress.current = fileOf(migration, way);
      progress.completed = -FILE_PREFIX_STATEMENTS;
      report(`${way === "up" ? "applying" : "taking back"} ${migration.name}`);
      // The transaction is ours, around all of it.
      pgm.noTransaction();
      pgm.sql(FILE_PREFIX + progress.current.sql);
    };
  // A file is sent as one query, whatever number of statements it has; errors at run time have no position in it, but the
  // server confirms each statement that is done.
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
      // What was read, checked and shown is what runs, not what the files hold by now.
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
      // Its lines repeat ours, warn of the missing transaction, and print whole files on errors.
      logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    });
  } finally {
    client.connection.off("commandComplete", countStatement);
  }
}

/** Also fills what node-pg-migrate's own program left empty. */
async function recordChecksums(client: Client, migrations: readonly Migration[]): Promise<void> {
  await client.query(
    `update ${QUALIFIED_TABLE} as applied set checksum = file.checksum
    from unnest($1::text[], $2::text[]) as file (name, checksum)
    where applied.name = file.name and applied.checksum is null`,
    [migrations.map(({ name }) => name), migrations.map(({ checksum }) => checksum)],
  );
}

function isDatabaseError(error: unknown): error is DatabaseError {
  return error instanceof Error && "severity" in error && "code" in error;
}

/** The error as the user needs it: what the server said, in which file and line, and that nothing has changed. */
async function describe(client: Client, error: unknown, progress: Progress, locked: boolean): Promise<StateError> {
  const details: Problem[] = [];
  let place = "The migrations failed";
  if (progress.current) {
    const { file, sql } = progress.current;
    const statements = splitStatements(sql);
    const position = isDatabaseError(error) ? Number(error.position ?? 0) - FILE_PREFIX.length : 0;
    const offset = position > 0 ? offsetOfPosition(sql, position) : undefined;
    const statement =
      offset === undefined
        ? statements[progress.completed]
        : statements.find(({ start, end }) => start <= offset && offset <= end);
    place = statement ? `${file}:${lineAt(sql, offset ?? statement.start)}` : file;
    if (statement) details.push({ subject: "statement", problem: excerpt(statement.text) });
  }
  if (isDatabaseError(error)) {
    for (const key of ["detail", "hint", "where"] as const) {
      const text = key === "detail" ? withoutRow(error) : error[key];
      if (text) details.push({ subject: key, problem: text });
    }
  }
  if (locked) details.push(...(await lockHolders(client)));
  const code = isDatabaseError(error) && error.code ? ` [SQLSTATE ${error.code}]` : "";
  details.push({
    subject: "database",
    problem: "nothing was changed, as all migrations of a run are one transaction.",
    remedy: locked
      ? `A lock was not granted within ${LOCK_TIMEOUT_MS} ms, ${MAX_TRIES} times. End the sessions named, or run the command again when they are done.`
      : "Correct the cause and run the command again.",
  });
  return new StateError(`${place}: ${messageOf(error)}${code}`, details, { cause: error });
}

/** not_null_violation, check_violation, with_check_option_violation: their detail is the whole row, hashes included. */
const TELL_THE_ROW = new Set(["23502", "23514", "44000"]);

/** What is printed may be kept: by a CI job, or in the stack's history. */
function withoutRow({ code, detail }: DatabaseError): string | undefined {
  return TELL_THE_ROW.has(code ?? "") ? undefined : detail;
}

function excerpt(statement: string): string {
  const LIMIT = 600;
  return statement.length > LIMIT ? `${statement.slice(0, LIMIT)} …` : statement;
}

async function lockHolders(client: Client): Promise<Problem[]> {
  try {
    const { rows } = await client.query<{ pid: number; application: string; role: string; relations: string }>(
      `select pid, application_name as application, usename as role,
        string_agg(distinct relation::regclass::text, ', ') as relations
      from pg_catalog.pg_locks join pg_catalog.pg_stat_activity using (pid)
        join pg_catalog.pg_class on pg_class.oid = relation
      where locktype = 'relation' and granted and pid <> pg_backend_pid() and relation >= 16384 and relkind in ('r', 'p', 'm')
        and database = (select oid from pg_catalog.pg_database where datname = current_database())
      group by pid, application_name, usename order by pid limit 5`,
    );
    return rows.map(({ pid, application, role, relations }) => ({
      subject: `process ${pid}`,
      problem: `holds locks on ${relations} (application ${JSON.stringify(application)}, role ${role}).`,
    }));
  } catch {
    // Only a help; the connection may be what failed.
    return [];
  }
}
