import type { Client } from "pg";
import { afterAll, beforeEach } from "vitest";
import { fillTables } from "./fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "./schema-database.ts";

// Set before each test, as a test may change any of the rows.
export let database: SchemaDatabase;
export let owner: Client;
/** The user who goes, and one who stays. */
export let ada: number;
export let bob: number;

export const NAME = "Zoë O'Lovelace";
export const USERNAME = "zoe.lovelace_1815";
export const ADDRESS = "Zoe.Love+x@Mail.Example.org";
/** Fits into every column that holds text. The names above fit into wide columns only. */
export const SHORT = "zl@e.org";

/** Gives each test of a file a database with rows in every table, some of them about Ada. */
export function eraseInDatabases(): void {
  beforeEach(async () => {
    await database?.close();
    database = await createSchemaDatabase("erasure");
    owner = await database.connect("ai_workflow_owner");
    await fillTables(owner, 2);
    const { rows } = await owner.query<{ id: number }>("select id from public.users order by id");
    [ada, bob] = rows.map(({ id }) => id) as [number, number];
    await owner.query("update public.users set username = $2, email = $3 where id = $1", [ada, USERNAME, ADDRESS]);
    await owner.query(
      "update public.user_profiles set first_name = 'Zoë', last_name = 'O''Lovelace', display_name = null where user_id = $1",
      [ada],
    );
  });
  afterAll(async () => {
    await database?.close();
  });
}

export interface Column {
  table: string;
  column: string;
  type: string;
  /** Characters it may hold. */
  length: number | null;
  isKey: boolean;
  isUnique: boolean;
  /** Whether a check names the values that may stand in it. */
  isListed: boolean;
  /** Whether some other check is on it. */
  isChecked: boolean;
}

/** Every column that can hold a text, from the catalogue. Two histories of migrations and a random key are left out. */
export async function textColumns(): Promise<Column[]> {
  const { rows } = await owner.query<Column>(`
    select format('%I.%I', nspname, relname) as table, attname as column, format_type(atttypid, null) as type,
      case when atttypmod > 4 and typcategory = 'S' then atttypmod - 4 end as length,
      exists (select from pg_constraint where attnum = any (conkey) and conrelid = attrelid and contype in ('p', 'f')
        or attnum = any (confkey) and confrelid = attrelid and contype = 'f') as "isKey",
      exists (select from pg_index where indrelid = attrelid and indisunique and attnum = any (indkey)) as "isUnique",
      exists (select from pg_constraint where attnum = any (conkey) and conrelid = attrelid and contype = 'c'
        and pg_get_constraintdef(oid) like '%= ANY (%') as "isListed",
      exists (select from pg_constraint where attnum = any (conkey) and conrelid = attrelid and contype = 'c') as "isChecked"
    from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
    join pg_type on pg_type.oid = atttypid
    where nspname in ('public', 'audit', 'maintenance', 'privacy') and relkind in ('r', 'p') and not relispartition
      and relname not in ('pgmigrations', 'alembic_version', 'identity_key') and attnum > 0 and not attisdropped
      and (typcategory in ('S', 'U', 'A', 'C') or typtype = 'd')
      and format_type(atttypid, null) not in ('uuid', 'integer[]', 'name')
    order by 1, attnum`);
  return rows;
}

const APPROVALS = "maintenance.retention_approvals";
const PLAIN = new Set(["text", "character varying"]);

/** Writes a text into one column of one row; undefined where the column can't hold it. */
function valueWith(column: Column, text: string): unknown {
  if (PLAIN.has(column.type)) {
    return text.length <= (column.length ?? Number.POSITIVE_INFINITY) ? text : undefined;
  }
  if (column.type.endsWith("[]")) return ["before", text];
  if (column.table === APPROVALS)
    return JSON.stringify({ column: "created_at", reason: text, legal_basis: `${text}.` });
  return JSON.stringify({ [text]: 1, list: [{ deep: text }, `${text}; and more`], "": null });
}

/** Whether a test plants texts in a column. */
export function isPlantable({ table, column, isKey, isListed, isChecked, isUnique, type }: Column): boolean {
  // Rows refer to each other by keys, and a list of labels has no room for a name.
  if (isKey || isListed) return false;
  // A table and a role.
  if (table === APPROVALS && ["table_name", "approved_by"].includes(column)) return false;
  // These hold names and addresses of other people.
  if (table === "public.users" && ["username", "email"].includes(column)) return false;
  // The other checks are about the form of addresses and numbers, or forbid an empty text.
  if (isChecked && !/summary|name$/.test(column)) return false;
  return !isUnique || type !== "jsonb";
}

/** Plants a text in every column of every row. Returns the columns that took it. */
export async function plant(text: string, { names }: { names: boolean }): Promise<Set<string>> {
  const planted = new Set<string>();
  const columns = (await textColumns()).filter(isPlantable);
  await owner.query("select set_config('aiwdb.maintenance', 'move', false)");
  for (const table of new Set(columns.map((column) => column.table))) {
    const values = columns
      .filter((column) => column.table === table)
      .filter(({ isUnique }) => !(names && isUnique))
      .filter(({ column }) => !(names && NO_NAMES[table]?.includes(column)))
      .map((column) => ({ column, value: valueWith(column, text) }))
      .filter(({ value }) => value !== undefined);
    if (values.length === 0) continue;
    // A unique column has the text once.
    const assign = values.map(({ column }, n) =>
      column.isUnique
        ? `"${column.column}" = case when n = 1 then $${n + 1}::text else "${column.column}" end`
        : `"${column.column}" = $${n + 1}`,
    );
    await owner.query(
      `with numbered as (select tableoid as part, ctid as place, row_number() over () as n from ${table})
       update ${table} set ${assign.join(", ")} from numbered where tableoid = part and ctid = place`,
      values.map(({ value }) => value),
    );
    for (const { column } of values) planted.add(`${column.table}.${column.column}`);
  }
  await owner.query("select set_config('aiwdb.maintenance', '', false)");
  return planted;
}

/**
 * Columns in which a test plants no name. In the trail's own columns a name would mean something else; in a profile it
 * would make another user a namesake.
 */
const NO_NAMES: Record<string, string[]> = {
  "audit.audit_log": ["table_name", "row_id", "changed_fields", "security_context"],
  "public.user_profiles": ["first_name", "last_name", "display_name"],
};

/** Every relation that has rows: tables, partitions, views, materialized views. */
export async function relations(): Promise<string[]> {
  const { rows } = await owner.query<{ name: string }>(`
    select format('%I.%I', nspname, relname) as name
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname in ('public', 'audit', 'partitions', 'maintenance', 'privacy') and relkind in ('r', 'p', 'v', 'm')
      and not exists (select from pg_depend where objid = pg_class.oid and classid = 'pg_class'::regclass and deptype = 'e')
    order by 1`);
  return rows.map(({ name }) => name);
}

/** Makes all spellings of a text equal: percent escapes, forms of Unicode, letter case. */
function fold(text: string): string {
  return text
    .replaceAll(/%[0-9a-f]{2}/gi, (code) => {
      const byte = Number.parseInt(code.slice(1), 16);
      return byte < 128 ? String.fromCharCode(byte) : code;
    })
    .normalize("NFC")
    .toLowerCase();
}

/** Where a text still stands, in any spelling. */
export async function placesOf(texts: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  const folded = texts.map(fold);
  for (const name of await relations()) {
    const { rows } = await owner.query<{ row: Record<string, unknown> }>(
      `select to_jsonb(entry) as row from ${name} as entry`,
    );
    for (const { row } of rows) {
      for (const [column, value] of Object.entries(row)) {
        const held = fold(JSON.stringify(value)).replaceAll('\\"', '"');
        if (folded.some((text) => held.includes(text))) found.push(`${name}.${column}`);
      }
    }
  }
  return [...new Set(found)];
}

export const erase = (id: number) => owner.query("select privacy.erase_user($1) as result", [id]);

/** The only value of a query. */
export const one = async (sql: string, values: unknown[] = []): Promise<unknown> =>
  (await owner.query<{ value: unknown }>(sql, values)).rows[0]?.value;
