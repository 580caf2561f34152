import type { Client } from "pg";

interface Column {
  readonly name: string;
  /** As format_type writes it, without a length. */
  readonly type: string;
  /** Characters a varchar may hold; null for no limit. */
  readonly length: number | null;
  readonly identity: boolean;
  /** First labels of an enum. */
  readonly labels: string[] | null;
}

interface ForeignKey {
  readonly column: string;
  readonly table: string;
  readonly referenced: string;
}

interface Table {
  /** With its schema, quoted where needed. */
  readonly name: string;
  readonly columns: Column[];
  readonly foreignKeys: ForeignKey[];
  /** Definitions of the check constraints. */
  readonly checks: string[];
}

const TABLES_SQL = `
  select
    class.oid::regclass::text as name,
    (
      select json_agg(json_build_object(
        'name', attname,
        'type', regexp_replace(format_type(atttypid, atttypmod), '\\(\\d+\\)', ''),
        'length', substring(format_type(atttypid, atttypmod) from '\\((\\d+)\\)')::integer,
        'identity', attidentity <> '',
        'labels', (select json_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = atttypid)
      ) order by attnum)
      from pg_attribute where attrelid = class.oid and attnum > 0 and not attisdropped
    ) as columns,
    coalesce((
      select json_agg(json_build_object(
        'column', (select attname from pg_attribute where attrelid = conrelid and attnum = conkey[1]),
        'table', confrelid::regclass::text,
        'referenced', (select attname from pg_attribute where attrelid = confrelid and attnum = confkey[1])
      ))
      from pg_constraint where conrelid = class.oid and contype = 'f' and conparentid = 0
    ), '[]') as "foreignKeys",
    coalesce((
      select json_agg(pg_get_constraintdef(oid)) from pg_constraint where conrelid = class.oid and contype = 'c'
    ), '[]') as checks
  from pg_class as class
  join pg_namespace as namespace on namespace.oid = relnamespace
  where nspname in ('public', 'audit') and relkind in ('r', 'p') and not relispartition and relname <> 'pgmigrations'
    and not exists (select from pg_depend where objid = class.oid and classid = 'pg_class'::regclass and deptype = 'e')
  order by 1`;

/** What {@link fillTables} wrote: rows now in each table, by its name with schema. */
export type Filled = Map<string, number>;

/** Names of the tables of the schemas public and audit, without partitions. */
export async function readTables(client: Client): Promise<Table[]> {
  const { rows } = await client
    .query<Table>(`set search_path = ''; ${TABLES_SQL.replaceAll("pg_", "pg_catalog.pg_")}`)
    .then(
      // Two statements give two results; the second is the list. An empty search_path makes regclass write the schema.
      (results) => (results as unknown as [unknown, { rows: Table[] }])[1],
    );
  await client.query("reset search_path");
  return rows;
}

/**
 * Writes `rowCount` rows into every table that has none. Every column gets a value, and every foreign key a row.
 *
 * Values are made from a column's name and type and from the checks of its table. So a new table works without a change
 * here, unless it has a check that no rule below knows. The `n`th row of a table refers to the `n`th row of the others.
 */
export async function fillTables(client: Client, rowCount = 3): Promise<Filled> {
  const filled: Filled = new Map();
  for (const table of inOrder(await readTables(client))) {
    const present = Number(
      (await client.query<{ count: string }>(`select count(*) from ${table.name}`)).rows[0]?.count,
    );
    if (present === 0) {
      for (let n = 0; n < rowCount; n++) await insertRow(client, table, n);
    }
    filled.set(table.name, present === 0 ? rowCount : present);
  }
  return filled;
}

/** The tables in an order in which each comes after those that it refers to. */
function inOrder(tables: Table[]): Table[] {
  const ordered = new Map<string, Table>();
  const visit = (table: Table): void => {
    if (ordered.has(table.name)) return;
    for (const key of table.foreignKeys) {
      const other = tables.find(({ name }) => name === key.table);
      if (other && other !== table) visit(other);
    }
    ordered.set(table.name, table);
  };
  tables.forEach(visit);
  return [...ordered.values()];
}

async function insertRow(client: Client, table: Table, n: number): Promise<void> {
  const columns = table.columns.filter(({ identity }) => !identity);
  const values = columns.map((column) => {
    const key = table.foreignKeys.find((each) => each.column === column.name);
    if (key)
      return `(select ${key.referenced} from ${key.table} order by 1 offset ${n} % (select count(*) from ${key.table}) limit 1)`;
    return `${literal(valueFor(table, column, n))}::${typeFor(column)}`;
  });
  await client.query(
    `insert into ${table.name} (${columns.map(({ name }) => `"${name}"`).join(", ")}) values (${values.join(", ")})`,
  );
}

function typeFor(column: Column): string {
  return column.labels ? `public.${column.type.replace(/^public\./, "")}` : column.type;
}

function literal(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

/** Points in time a day apart, so that what ends comes after what begins. */
const EARLY = "2026-01-10T08:00:00Z";
const LATE = "2026-01-11T08:00:00Z";
const LATER_COLUMN =
  /^(expir|.*expir|end|ended|due|completed|.*_end|.*_end_at|last_seen|discovery|investigation_completed|.*_completed)/;

function valueFor(table: Table, { name, type, length, labels }: Column, n: number): string {
  if (labels) return labels[n % labels.length] ?? "";
  switch (type) {
    case "integer":
    case "bigint":
    case "double precision":
      return name.startsWith("total_") ? "10" : "1";
    case "boolean":
      return "false";
    case "uuid":
      return `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
    case "json":
    case "jsonb":
      return "{}";
    case "inet":
      return "192.0.2.1";
    case "timestamp with time zone": {
      const time = new Date(LATER_COLUMN.test(name) ? LATE : EARLY);
      time.setUTCMinutes(n);
      return time.toISOString();
    }
    default:
      if (type.endsWith("[]")) return "{}";
      return textFor(table, name, n).slice(0, length ?? undefined);
  }
}

function textFor(table: Table, name: string, n: number): string {
  const listed = listFromChecks(table, name);
  if (listed) return listed[n % listed.length] ?? "";
  if (/email/.test(name)) return `person${n}@example.org`;
  if (/phone/.test(name)) return `+49301234${n}`;
  if (name === "country_code") return "+49";
  if (name === "average_response_time" || name === "processing_time") return "12.5";
  return `${n} ${name}`;
}

/** Labels of a check of the form `column in ('a', 'b')`, as PostgreSQL writes it back. */
function listFromChecks(table: Table, column: string): string[] | undefined {
  const check = table.checks.find((each) => new RegExp(`\\(\\(?${column}\\)::text = ANY`).test(each));
  return check ? [...check.matchAll(/'([^']+)'::character varying/g)].map(([, label]) => label ?? "") : undefined;
}
