import { basename } from "node:path";
import type { Client } from "pg";
import { StateError } from "../../toolchain/errors.ts";
import { pendingMigrations, readApplied } from "./applied.ts";
import type { Migration } from "./files.ts";
import { type LockMode, locksOf } from "./locks.ts";
import { isSyntaxProblem, loadParser, type SqlParser } from "./parse.ts";
import type { Phase } from "./phases.ts";

/** A relation as it is now. */
export interface RelationSize {
  /** With its indexes and TOAST, over all partitions. */
  readonly bytes: number;
  /** The server's estimate; undefined if it has none. */
  readonly rows: number | undefined;
}

/** A lock that a statement will take. */
export interface PlannedLock {
  readonly relation: string;
  readonly mode: LockMode;
  /** Undefined if there is no such relation yet: an earlier statement of the plan makes it, and nobody waits for it. */
  readonly size: RelationSize | undefined;
}

/** A statement that will run. */
export interface PlannedStatement {
  readonly file: string;
  readonly line: number;
  readonly sql: string;
  readonly locks: readonly PlannedLock[];
  /** What takes long under these locks, if a table is large. */
  readonly work?: string;
  /** Runs code whose locks nobody can tell beforehand. */
  readonly opaque?: boolean;
}

/** A migration that will run. */
export interface PlannedMigration {
  readonly name: string;
  readonly phase: Phase;
  /** What its author says about locks. */
  readonly lock: string | undefined;
  readonly statements: readonly PlannedStatement[];
}

/** What applying all pending migrations will do. */
export interface MigrationPlan {
  readonly applied: number;
  readonly pending: readonly PlannedMigration[];
}

/**
 * What applying would do: pending SQL, its locks, and the sizes of the tables it touches.
 *
 * Reads in one transaction that is `read only` and takes no lock beyond ACCESS SHARE on catalogues and, for a moment each, on the
 * tables measured.
 *
 * @throws {StateError} if the files don't continue what is applied.
 */
export async function planMigrations(client: Client, migrations: readonly Migration[]): Promise<MigrationPlan> {
  const parser = await loadParser();
  await client.query(
    "begin isolation level repeatable read read only; set local lock_timeout = '2s'; set local search_path = public",
  );
  try {
    const applied = await readApplied(client);
    const planned = pendingMigrations(migrations, applied).map((migration) => planOne(parser, migration));
    const names = new Set(
      planned.flatMap(({ statements }) => statements.flatMap(({ locks }) => locks.map(({ relation }) => relation))),
    );
    const known = await measure(client, [...names]);
    return { applied: applied.length, pending: planned.map((each) => withSizes(each, known)) };
  } finally {
    await client.query("rollback");
  }
}

interface Draft extends Omit<PlannedMigration, "statements"> {
  readonly statements: readonly (Omit<PlannedStatement, "locks"> & {
    readonly locks: readonly { readonly relation: string; readonly mode: LockMode }[];
  })[];
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

function withSizes(draft: Draft, known: ReadonlyMap<string, Known>): PlannedMigration {
  return {
    ...draft,
    statements: draft.statements.map((statement) => ({
      ...statement,
      locks: statement.locks.map(({ relation, mode }) => ({
        relation: known.get(relation)?.table ?? relation,
        mode,
        size: known.get(relation)?.size,
      })),
    })),
  };
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
