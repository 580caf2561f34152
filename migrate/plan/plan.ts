import { basename } from "node:path";
import type { Client } from "pg";
import { StateError } from "../../base/errors.ts";
import { pendingMigrations, readApplied } from "../run/applied.ts";
import type { Migration } from "../chain/files.ts";
import { isAtLeast, type LockMode, locksOf, type RelationLock, type StatementLocks, strongest } from "./locks.ts";
import { isSyntaxProblem, loadParser, type SqlParser } from "../chain/parse.ts";
import type { Phase } from "../chain/phases.ts";

/** A relation as it is now. */
interface RelationSize {
  /** With its indexes and TOAST, over all partitions. */
  readonly bytes: number;
  /** The server's estimate; undefined if it has none. */
  readonly rows: number | undefined;
}

/** A lock that a statement will take. */
interface PlannedLock {
  readonly relation: string;
  readonly mode: LockMode;
  /** Undefined if there is no such relation yet: an earlier statement of the plan makes it, and nobody waits for it. */
  readonly size: RelationSize | undefined;
}

/** A lock that is held from a migration on. */
export interface HeldLock extends PlannedLock {
  /** The first migration that takes it, at this strength or a lesser one. */
  readonly since: string;
}

/** A statement that will run. */
export interface PlannedStatement {
  readonly file: string;
  readonly line: number;
  readonly sql: string;
  readonly locks: readonly PlannedLock[];
  /** What the statement does while it holds these locks and that takes long on a large table. */
  readonly work?: string | undefined;
  /** True if the statement runs code, such as a DO block, whose locks its text does not tell. */
  readonly opaque?: boolean;
}

/** A migration that will run. */
interface PlannedMigration {
  readonly name: string;
  readonly phase: Phase;
  /** What the file's header says about locks; undefined if it says nothing. */
  readonly lock: string | undefined;
  readonly statements: readonly PlannedStatement[];
}

/** What applying all pending migrations will do. */
export interface MigrationPlan {
  /** Number of applied migrations. */
  readonly applied: number;
  readonly pending: readonly PlannedMigration[];
  /**
   * The strongest lock on each relation that is there already, in the order in which they are taken. All are held to
   * the end, as all migrations of a run are one transaction.
   */
  readonly held: readonly HeldLock[];
  /** Statements that would stop the application for as long as a large table takes. */
  readonly warnings: readonly string[];
}

const MIB = 2 ** 20;

/**
 * Tells what applying would do: pending SQL, its locks, and the sizes of the tables that it locks.
 *
 * It reads in one transaction that is `read only`. It takes no lock but ACCESS SHARE, on catalogues and on the tables
 * that it measures.
 *
 * @param options.largeMiB size in MiB above which a table is large: statements that keep its writers waiting give a
 * warning. 100 if not given.
 * @throws {StateError} if the files don't continue what is applied, or if one is no SQL.
 * @throws {ToolError} if PostgreSQL's grammar can't be loaded.
 */
export async function planMigrations(
  client: Client,
  migrations: readonly Migration[],
  options: { readonly largeMiB?: number } = {},
): Promise<MigrationPlan> {
  const largeBytes = (options.largeMiB ?? 100) * MIB;
  const parser = await loadParser();
  await client.query(
    "begin isolation level repeatable read read only; set local lock_timeout = '2s'; set local search_path = public",
  );
  try {
    const applied = await readApplied(client);
    const planned = pendingMigrations(migrations, applied).map((migration) => planOne(parser, migration));
    const locks = planned.flatMap(({ statements }) => statements.flatMap((statement) => statement.locks));
    const references = await findReferences(client, locks);
    const referenced = [...references.values()].flat();
    const known = await measure(client, [...new Set([...locks.map(({ relation }) => relation), ...referenced])]);
    const pending = planned.map((each) => complete(each, known, references));
    return {
      applied: applied.length,
      pending,
      held: heldLocks(pending),
      warnings: pending.flatMap((each) => warningsOf(each, largeBytes)),
    };
  } finally {
    await client.query("rollback");
  }
}

interface Draft extends Omit<PlannedMigration, "statements"> {
  readonly statements: readonly (Omit<PlannedStatement, "locks"> & StatementLocks)[];
}

function planOne(parser: SqlParser, { name, phase, header, up, upPath }: Migration): Draft {
  const file = basename(upPath);
  const parsed = parser(up);
  if (isSyntaxProblem(parsed)) {
    throw new StateError("A pending migration is no SQL:", [
      {
        subject: `${file}:${parsed.line}:${parsed.column}`,
        problem: parsed.message,
        remedy: "See `aiwdb migrate check`.",
      },
    ]);
  }
  return {
    name,
    phase,
    lock: header["Lock"],
    statements: parsed.map(({ node, text, line }) => ({ file, line, sql: text, ...locksOf(node) })),
  };
}

interface Known {
  /** The table of an index, else the relation itself. */
  readonly table: string;
  readonly size: RelationSize;
}

/** Adds what only the catalogue knows: an index's table, tables behind foreign keys that go away, sizes. */
function complete(draft: Draft, known: ReadonlyMap<string, Known>, references: References): PlannedMigration {
  const planned = (relation: string, mode: LockMode): PlannedLock => {
    const { table = relation, size } = known.get(relation) ?? {};
    return { relation: table, mode, size };
  };
  return {
    ...draft,
    statements: draft.statements.map((statement) => {
      const locks = statement.locks.flatMap((lock) =>
        [lock.relation, ...(references.get(lock) ?? [])].map((relation) => planned(relation, lock.mode)),
      );
      return { ...statement, locks: strongest(locks) };
    }),
  };
}

function heldLocks(pending: readonly PlannedMigration[]): HeldLock[] {
  const all = pending.flatMap(({ name, statements }) =>
    statements
      .flatMap(({ locks }) => locks)
      // Nobody waits for what does not exist yet.
      .filter(({ size }) => size !== undefined)
      .map((lock) => ({ ...lock, since: name })),
  );
  return strongest(all).map((lock) => ({
    ...lock,
    since: all.find(({ relation }) => relation === lock.relation)?.since ?? lock.since,
  }));
}

function warningsOf({ statements }: PlannedMigration, largeBytes: number): string[] {
  return statements.flatMap(({ file, line, locks, work }) =>
    locks
      // SHARE and stronger keep writers out.
      .filter(({ mode, size }) => work && isAtLeast(mode, "SHARE") && (size?.bytes ?? 0) > largeBytes)
      .map(
        ({ relation, mode, size }) =>
          `${file}:${line} ${work} under ${mode} on ${relation}, ${Math.round((size?.bytes ?? 0) / MIB)} MiB: writers wait until it is done.`,
      ),
  );
}

type References = ReadonlyMap<RelationLock, readonly string[]>;

/** The tables behind foreign keys that statements drop. */
async function findReferences(client: Client, locks: readonly RelationLock[]): Promise<References> {
  const dropping = locks.filter(({ dropsForeignKeys }) => dropsForeignKeys !== undefined);
  const { rows } = await client.query<{ position: number; name: string }>(
    `select position::int, confrelid::regclass::text as name
    from unnest($1::text[], $2::text[]) with ordinality as dropped (quoted, constraint_name, position)
      join pg_catalog.pg_constraint on contype = 'f' and conrelid = to_regclass(quoted)
        and conname = coalesce(constraint_name, conname)`,
    [
      dropping.map(({ relation }) => quoteName(relation)),
      dropping.map(({ dropsForeignKeys }) => (dropsForeignKeys === true ? null : dropsForeignKeys)),
    ],
  );
  return new Map(
    dropping.map((lock, index) => [
      lock,
      rows.filter(({ position }) => position === index + 1).map(({ name }) => name),
    ]),
  );
}

async function measure(client: Client, names: readonly string[]): Promise<Map<string, Known>> {
  const { rows } = await client.query<{ name: string; table: string; bytes: string; rows: number | null }>(
    `select name, relation::regclass::text as "table", size.bytes, size.rows
    from unnest($1::text[], $2::text[]) as wanted (name, quoted)
      join pg_catalog.pg_class found on found.oid = to_regclass(quoted)
      left join pg_catalog.pg_index on indexrelid = found.oid
      cross join lateral (select coalesce(indrelid, found.oid) as relation) target
      cross join lateral (
        select sum(pg_total_relation_size(part)) as bytes,
          case when min(reltuples) filter (where relkind <> 'p') >= 0
            then sum(reltuples) filter (where relkind <> 'p') end as rows
        from (
          select target.relation::oid as part
          union select relid::oid from pg_partition_tree(target.relation::regclass)
        ) parts join pg_catalog.pg_class on pg_class.oid = part
      ) size`,
    [names, names.map(quoteName)],
  );
  return new Map(
    rows.map(({ name, table, bytes, rows: count }) => [
      name,
      { table, size: { bytes: Number(bytes), rows: count ?? undefined } },
    ]),
  );
}

function quoteName(name: string): string {
  return name
    .split(".")
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join(".");
}
