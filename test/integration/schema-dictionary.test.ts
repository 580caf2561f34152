import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readDecisions, readForeignKeyDecisions } from "../../contract/decisions.ts";
import { type DictionaryColumn, readDictionary, realName } from "../../contract/dictionary.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

/** One way in which the live catalogue differs from the dictionary. */
interface Difference {
  readonly kind: string;
  /** `table.column`, an index, a constraint; the real name, with schema where it is not public. */
  readonly object: string;
}

const dictionary = readDictionary();
const decisions = readDecisions();

let database: SchemaDatabase;
let owner: Client;

beforeAll(async () => {
  database = await createSchemaDatabase("dictionary");
  await database.up();
  owner = await database.connect("ai_workflow_owner");
  // Definitions are compared as PostgreSQL writes them, and it leaves out what the search_path finds.
  await owner.query("set search_path = public");
});
afterAll(async () => {
  await database?.close();
});

async function query<Row>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return (await owner.query(sql, values)).rows as Row[];
}

const short = (name: string): string => name.replace(/^public\./, "");
const tableNames = Object.keys(dictionary.tables);
const real = (key: string): string => realName(dictionary, key);

async function compareTables(): Promise<Difference[]> {
  const live = await query<{ name: string }>(`
    select format('%s.%s', nspname, relname) as name
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relkind in ('r', 'p') and nspname in ('public', 'audit') and relname <> 'pgmigrations'`);
  const wanted = tableNames.map(real);
  const names = live.map(({ name }) => name);
  return [
    ...wanted.filter((name) => !names.includes(name)).map((name) => ({ kind: "missing table", object: short(name) })),
    ...names
      .filter((name) => !wanted.includes(name))
      .map((name) => ({ kind: "additional table", object: short(name) })),
    ...tableNames
      .filter((key) => short(real(key)) !== key)
      .map((key) => ({ kind: "the models' name is the table, the report's a view", object: key })),
  ];
}

async function compareEnums(): Promise<Difference[]> {
  const live = await query<{ name: string; labels: string[] }>(`
    select typname as name, array_agg(enumlabel::text order by enumsortorder) as labels
    from pg_type join pg_enum on enumtypid = pg_type.oid where typnamespace = 'public'::regnamespace group by 1`);
  const differences: Difference[] = [];
  for (const [name, labels] of Object.entries(dictionary.enums)) {
    const found = live.find((each) => each.name === name);
    if (!found) differences.push({ kind: "missing enum", object: name });
    else if (found.labels.join() !== labels.join()) differences.push({ kind: "enum labels", object: name });
  }
  for (const { name } of live) {
    if (!dictionary.enums[name]) differences.push({ kind: "additional enum", object: name });
  }
  return differences;
}

interface LiveColumn {
  name: string;
  type: string;
  nullable: boolean;
  default: string | null;
  identity: string;
}

async function compareColumns(key: string): Promise<Difference[]> {
  const live = await query<LiveColumn>(
    `select attname as name, format_type(atttypid, atttypmod) as type, not attnotnull as nullable,
       pg_get_expr(adbin, adrelid) as default, attidentity as identity
     from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
     where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
    [real(key)],
  );
  const differences: Difference[] = [];
  const columns = dictionary.tables[key]?.columns ?? [];
  const differ = (kind: string, column: string) => differences.push({ kind, object: `${short(real(key))}.${column}` });
  if (live.map(({ name }) => name).join() !== columns.map(({ name }) => name).join()) {
    for (const { name } of live) if (!columns.some((each) => each.name === name)) differ("additional column", name);
    for (const { name } of columns) if (!live.some((each) => each.name === name)) differ("missing column", name);
    differ("order of columns", "*");
  }
  for (const wanted of columns) {
    const found = live.find(({ name }) => name === wanted.name);
    if (!found) continue;
    if (found.type !== wanted.type) differ("type", wanted.name);
    if (found.nullable !== (wanted.nullable ?? false)) differ("nullability", wanted.name);
    const kind = await compareDefault(found, wanted);
    if (kind) differ(kind, wanted.name);
  }
  return differences;
}

/**
 * Undefined if equal; "server default as the models' own" only if the value is the very one that the models would send.
 */
async function compareDefault(found: LiveColumn, wanted: DictionaryColumn): Promise<string | undefined> {
  if (wanted.autoIncrement) return found.identity === "d" ? "identity instead of serial" : "automatic key";
  if (wanted.default !== undefined) return found.default === wanted.default ? undefined : "default";
  if (found.default === null) return wanted.clientDefault === undefined ? undefined : "no default";
  if (wanted.clientDefault === undefined) return "default";
  if (wanted.clientDefault === "uuid4")
    return found.default === "gen_random_uuid()" ? "server default as the models' own" : "default";
  const isText = wanted.clientDefault.startsWith("'");
  const value = isText ? wanted.clientDefault : `'${wanted.clientDefault}'`;
  const sameValue = `(${found.default})::${wanted.type}::text = (${wanted.type.endsWith("[]") ? "'{}'" : value}::${wanted.type})::text as same`;
  const [row] = await query<{ same: boolean }>(`select ${sameValue}`);
  return row?.same ? "server default as the models' own" : "default";
}

async function compareConstraints(key: string): Promise<Difference[]> {
  const table = dictionary.tables[key];
  if (!table) return [];
  const name = short(real(key));
  const live = await query<{ name: string; type: string; columns: string[]; definition: string; validated: boolean }>(
    `select conname as name, contype as type, convalidated as validated, pg_get_constraintdef(entry.oid) as definition,
       array(select attname::text from unnest(conkey) with ordinality as key (number, place)
         join pg_attribute on attrelid = conrelid and attnum = number order by place) as columns
     from pg_constraint as entry where conrelid = $1::regclass and conparentid = 0 order by 1`,
    [real(key)],
  );
  const differences: Difference[] = [];
  const differ = (kind: string, object: string) => differences.push({ kind, object });
  const matched = new Set<string>();
  const take = (test: (entry: (typeof live)[number]) => boolean) => {
    const entry = live.find(test);
    if (entry) matched.add(entry.name);
    return entry;
  };

  const primary = take(({ type }) => type === "p");
  if (primary?.columns.join() !== table.primaryKey.join()) differ("primary key", name);

  for (const unique of table.uniques) {
    const found = take(({ type, columns }) => type === "u" && columns.join() === unique.columns.join());
    const wantedName = unique.name ?? `${name.replace(/^.*\./, "")}_${unique.columns.join("_")}_key`;
    if (!found) differ("missing unique constraint", wantedName);
    else if (found.name !== wantedName) differ("constraint name", found.name);
    else if (found.definition !== `UNIQUE (${unique.columns.join(", ")})`) differ("unique constraint", found.name);
  }

  for (const foreign of table.foreignKeys) {
    const object = `${name}.${foreign.columns.join(",")}`;
    const found = take(({ type, columns }) => type === "f" && columns.join() === foreign.columns.join());
    if (!found) {
      differ("missing foreign key", object);
      continue;
    }
    const target = dictionary.tables[foreign.table] ? short(real(foreign.table)) : foreign.table;
    const plain = `FOREIGN KEY (${foreign.columns.join(", ")}) REFERENCES ${target}(${foreign.referenced.join(", ")})`;
    const action = / ON DELETE (.*)$/.exec(found.definition)?.[1] ?? "NO ACTION";
    if (found.definition.replace(/ ON DELETE .*$/, "") !== plain) differ("foreign key", object);
    if (action !== foreign.onDelete) differ(`foreign key: on delete ${action.toLowerCase()}`, object);
  }

  const suggested = dictionary.suggestedChecks.filter((check) => check.table === key);
  const checks = [...table.checks, ...suggested];
  const definitions = await definitionsOf(
    real(key),
    checks.map(({ expression }) => expression),
  );
  for (const [index, check] of checks.entries()) {
    const found =
      take(({ type, name: liveName }) => type === "c" && liveName === check.name) ??
      take(({ type, definition }) => type === "c" && definition === definitions[index]);
    if (!found) differ("missing check", check.name);
    else if (found.definition !== definitions[index]) differ("check", check.name);
    else if (found.name !== check.name) differ("constraint name", found.name);
    if (found && !found.validated) differ("check not validated", check.name);
  }
  for (const entry of live) if (!matched.has(entry.name)) differ("additional constraint", entry.name);
  return differences;
}

/** How PostgreSQL writes back check constraints with these expressions. */
async function definitionsOf(table: string, expressions: string[]): Promise<string[]> {
  if (expressions.length === 0) return [];
  await owner.query("begin");
  try {
    await owner.query(`create temporary table probe (like ${table})`);
    for (const [index, expression] of expressions.entries()) {
      await owner.query(`alter table probe add constraint c${String(index).padStart(4, "0")} check (${expression})`);
    }
    const rows = await query<{ definition: string }>(
      "select pg_get_constraintdef(oid) as definition from pg_constraint where conrelid = 'probe'::regclass order by conname",
    );
    return rows.map(({ definition }) => definition);
  } finally {
    await owner.query("rollback");
  }
}

async function compareIndexes(key: string): Promise<Difference[]> {
  const live = await query<{ name: string; definition: string }>(
    `select class.relname as name, pg_get_indexdef(indexrelid) as definition
     from pg_index join pg_class as class on class.oid = indexrelid
     where indrelid = $1::regclass and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'))`,
    [real(key)],
  );
  const differences: Difference[] = [];
  const wanted = dictionary.tables[key]?.indexes ?? [];
  for (const index of wanted) {
    const found = live.find(({ name }) => name === index.name);
    const columns = index.columns.join(", ");
    const definition = `CREATE ${index.unique ? "UNIQUE " : ""}INDEX ${index.name} ON ${partitioned(key) ? "ONLY " : ""}${real(key)} USING ${index.method ?? "btree"} (${columns})${index.where ? ` WHERE (${index.where})` : ""}`;
    if (!found) differences.push({ kind: "missing index", object: index.name });
    else if (found.definition !== definition)
      differences.push({ kind: "index", object: `${index.name}: ${found.definition}` });
  }
  for (const { name } of live) {
    if (!wanted.some((index) => index.name === name)) differences.push({ kind: "additional index", object: name });
  }
  return differences;
}

/** PostgreSQL writes ONLY where an index of a partitioned table is its own and not one of its partitions'. */
const partitionedTables = new Set<string>();
const partitioned = (key: string): boolean => partitionedTables.has(real(key));

describe("the live catalogue", () => {
  it("differs from the dictionary in what was decided and in nothing else", async () => {
    for (const { name } of await query<{ name: string }>(
      "select format('%s.%s', relnamespace::regnamespace, relname) as name from pg_class where relkind = 'p'",
    )) {
      partitionedTables.add(name);
    }

    const differences = [...(await compareTables()), ...(await compareEnums())];
    for (const key of tableNames) {
      differences.push(
        ...(await compareColumns(key)),
        ...(await compareConstraints(key)),
        ...(await compareIndexes(key)),
      );
    }

    const isDecided = ({ kind, object }: Difference): boolean =>
      decisions.some(
        (decision) => decision.kind === kind && (decision.objects[0] === "*" || decision.objects.includes(object)),
      );
    expect(
      differences.filter((difference) => !isDecided(difference)),
      "differences without a decision in contract/decisions.json",
    ).toEqual([]);

    const stale = decisions.flatMap(({ kind, objects }) =>
      objects
        .filter(
          (object) => !differences.some((each) => each.kind === kind && (object === "*" || each.object === object)),
        )
        .map((object) => ({ kind, object })),
    );
    expect(stale, "decisions of contract/decisions.json that nothing needs any more").toEqual([]);
  });

  it("has an index that repeats no other, and one under every foreign key", async () => {
    expect(await query("select * from maintenance.redundant_indexes")).toEqual([]);
    expect(await query("select * from maintenance.uncovered_foreign_keys")).toEqual([]);
  });

  it("has the foreign keys that were decided on, with their actions", async () => {
    const decided = readForeignKeyDecisions().map(
      ({ table, column, refersTo, onDelete }) => `${table}.${column} -> ${refersTo} ${onDelete}`,
    );
    const live = await query<{ key: string }>(`
      select format('%s.%s -> %s %s', conrelid::regclass, attname, confrelid::regclass,
        case confdeltype when 'c' then 'cascade' when 'n' then 'set null' when 'a' then 'no action' end) as key
      from pg_constraint join pg_attribute on attrelid = conrelid and attnum = conkey[1]
      where contype = 'f' and conparentid = 0`);
    expect(decided.toSorted()).toEqual(live.map(({ key }) => key).toSorted());
  });

  it("says of every table and column what it holds", async () => {
    const silent = await query(`
      select class.oid::regclass as relation, attname as column
      from pg_class as class join pg_namespace as namespace on namespace.oid = relnamespace
      join pg_attribute on attrelid = class.oid and attnum >= 0 and not attisdropped
      where relkind in ('r', 'p', 'm') and not relispartition and nspname in ('public', 'audit', 'maintenance')
        and relname <> 'pgmigrations' and coalesce(col_description(class.oid, attnum), '') = ''
      union all
      select class.oid::regclass, null
      from pg_class as class join pg_namespace as namespace on namespace.oid = relnamespace
      where relkind in ('r', 'p', 'm', 'v') and not relispartition and nspname in ('public', 'audit', 'maintenance', 'privacy')
        and relname <> 'pgmigrations' and coalesce(obj_description(class.oid, 'pg_class'), '') = ''
        and not exists (select from pg_depend where objid = class.oid and classid = 'pg_class'::regclass and deptype = 'e')`);
    expect(silent).toEqual([]);
  });

  it("fixes the search_path of every function that runs with another's rights", async () => {
    expect(
      await query(`
        select oid::regprocedure from pg_proc
        where prosecdef and pronamespace::regnamespace::text in ('public', 'audit', 'maintenance', 'privacy')
          and not coalesce(proconfig @> array['search_path=pg_catalog, pg_temp'], false)`),
    ).toEqual([]);
  });
});
