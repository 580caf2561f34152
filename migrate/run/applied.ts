import type { Client } from "pg";
import { type Problem, StateError } from "../../base/errors.ts";
import type { Migration } from "../chain/files.ts";

/** The table in which node-pg-migrate records what is applied, and its schema. */
export const MIGRATIONS_TABLE = "pgmigrations";
/** Schema of the table of applied migrations. */
export const MIGRATIONS_SCHEMA = "public";
/** The table's name as it is written in SQL. */
export const QUALIFIED_TABLE = `${MIGRATIONS_SCHEMA}.${MIGRATIONS_TABLE}`;

/** A migration as the database knows it. */
export interface AppliedMigration {
  readonly name: string;
  /** Null if node-pg-migrate's own program applied it, which records none. */
  readonly checksum: string | null;
}

/** The table and its sequence, as far as others than the owner may do more than read the table. */
const RIGHTS_OF_OTHERS = `
  select class.oid, class.relkind, grantee
  from pg_catalog.pg_class as class
  cross join pg_catalog.aclexplode(class.relacl)
  where class.oid in (
      pg_catalog.to_regclass('${QUALIFIED_TABLE}'), pg_catalog.to_regclass('${QUALIFIED_TABLE}_id_seq')
    )
    and grantee <> class.relowner and (class.relkind = 'S' or privilege_type <> 'SELECT')`;

/**
 * SQL that leaves other roles than the owner only the right to read, as only the owner may say what is applied.
 *
 * The default privileges of schema public let the application write rows and take numbers of the sequence.
 */
export const PROTECT_TABLE_SQL = `do $$
declare
  entry record;
begin
  for entry in select distinct * from (${RIGHTS_OF_OTHERS}) as rights loop
    execute pg_catalog.format(
      case entry.relkind
        when 'S' then 'revoke all on sequence %s from %s'
        else 'revoke insert, update, delete, truncate, references, trigger on %s from %s'
      end,
      entry.oid::pg_catalog.regclass,
      case entry.grantee when 0 then 'public' else entry.grantee::pg_catalog.regrole::text end
    );
  end loop;
end
$$`;

/** A query for one row, a {@link TableState}. */
export const TABLE_STATE_SQL = `select to_regclass('${QUALIFIED_TABLE}') is not null as "hasTable", exists (
  select from pg_catalog.pg_attribute
  where attrelid = to_regclass('${QUALIFIED_TABLE}') and attname = 'checksum' and not attisdropped
) as "hasChecksum", exists (${RIGHTS_OF_OTHERS}) as "othersMayWrite"`;

/** The state of the table of applied migrations. */
export interface TableState {
  /** Whether the table is there. */
  readonly hasTable: boolean;
  /** Whether it has the column `checksum`, which is not node-pg-migrate's. */
  readonly hasChecksum: boolean;
  /** Whether others than its owner may write it. */
  readonly othersMayWrite: boolean;
}

/**
 * Reads what is applied, in the order in which it was applied.
 *
 * A database without the table has nothing applied. The role needs the right to read the table.
 *
 * @param known the table's state, if it was read already.
 */
export async function readApplied(client: Client, known?: TableState): Promise<AppliedMigration[]> {
  const state = known ?? (await client.query<TableState>(TABLE_STATE_SQL)).rows[0];
  if (!state?.hasTable) return [];
  const checksum = state.hasChecksum ? "checksum" : "null as checksum";
  // node-pg-migrate orders by run_on, but a clock can go back. Ids are given under the lock of migrations.
  const { rows } = await client.query<AppliedMigration>(`select name, ${checksum} from ${QUALIFIED_TABLE} order by id`);
  return rows;
}

/**
 * Compares the files with what is applied and gives the files still to be applied.
 *
 * @throws {StateError} naming every difference: a file gone, renamed, added before an applied one, or changed in its
 * SQL.
 */
export function pendingMigrations(
  migrations: readonly Migration[],
  applied: readonly AppliedMigration[],
): readonly Migration[] {
  const problems = [...orderProblems(migrations, applied), ...changedProblems(migrations, applied)];
  if (problems.length > 0) {
    throw new StateError(
      "The migration files don't continue what is applied in the database; nothing was changed:",
      problems,
    );
  }
  return migrations.slice(applied.length);
}

function orderProblems(migrations: readonly Migration[], applied: readonly AppliedMigration[]): Problem[] {
  const problems: Problem[] = [];
  const refuse = (subject: string, problem: string, remedy: string) => void problems.push({ subject, problem, remedy });
  const files = new Set(migrations.map(({ name }) => name));
  const appliedNames = new Set<string>();
  for (const { name } of applied) {
    if (appliedNames.has(name)) {
      const remedy = `Find out which row of ${QUALIFIED_TABLE} is wrong and delete it.`;
      refuse(name, "is recorded twice as applied.", remedy);
    }
    appliedNames.add(name);
  }
  const appliedNumbers = new Set([...appliedNames].map((name) => Number.parseInt(name, 10)));
  for (const name of appliedNames) {
    if (files.has(name)) continue;
    const number = Number.parseInt(name, 10);
    const renamed = migrations.find((migration) => migration.number === number && !appliedNames.has(migration.name));
    if (renamed) {
      const problem = `is applied under this name, but its file is now ${renamed.name}.`;
      refuse(name, problem, "Give the file its old name back.");
    } else if (number > (migrations.at(-1)?.number ?? 0)) {
      refuse(
        name,
        "is applied, but is not among the migrations asked for.",
        "To take it back use `aiwdb rollback` for this database (`--stack` or `--database-url`); to keep it, use the version of the files (or the phase) that has it.",
      );
    } else refuse(name, "is applied, but its file is missing.", "Restore the file.");
  }
  const lastApplied = migrations.findLastIndex(({ name }) => appliedNames.has(name));
  for (const { name, number } of migrations.slice(0, Math.max(lastApplied, 0))) {
    if (appliedNames.has(name) || appliedNumbers.has(number)) continue;
    const problem = `is not applied, but stands before ${migrations[lastApplied]?.name}, which is.`;
    refuse(name, problem, "Give it the next free number.");
  }
  const swapped = applied.find(({ name }, index) => migrations[index]?.name !== name);
  if (problems.length === 0 && swapped) {
    refuse(swapped.name, "was applied out of the files' order.", "Restore the files.");
  }
  return problems;
}

function changedProblems(migrations: readonly Migration[], applied: readonly AppliedMigration[]): Problem[] {
  const recorded = new Map(applied.map(({ name, checksum }) => [name, checksum]));
  return migrations
    .filter(({ name, checksum }) => (recorded.get(name) ?? checksum) !== checksum)
    .map(({ name }) => ({
      subject: `${name}.up.sql`,
      problem: "its SQL changed after it was applied (comments and white space may change).",
      remedy: "Restore the file, and put the change into a new migration.",
    }));
}
