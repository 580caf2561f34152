import { literal } from "../../database/quote.ts";
import type pg from "pg";
import type { Registry, Template } from "./registry.ts";

/** What a database looks like that nobody has used yet. */
export interface Fingerprint {
  /** Transaction after which every row is somebody's doing, and none of the template's. */
  readonly xid: string;
  /** How many rows each part of the catalogue has, and what the relations mean. */
  readonly catalogue: string;
  /** Tables and materialized views with rows, by name: a hash over them and where they lie. */
  readonly rows: Readonly<Record<string, string>>;
  /** Where sequences stand, by name. */
  readonly sequences: Readonly<Record<string, readonly [lastValue: string, isCalled: boolean]>>;
}

/** What the template's databases look like; undefined for a template that was removed. */
export async function fingerprintOf({ workers }: Registry, { key }: Template): Promise<Fingerprint | undefined> {
  const sql = "select fingerprint from testdb.template where key = $1";
  return (await workers.query<{ fingerprint: Fingerprint }>(sql, [key])).rows[0]?.fingerprint;
}

/** More than this in tables that are to be emptied, and a new copy is quicker. */
export const RESET_MAX_BYTES = 8 * 1024 ** 2;

/**
 * Rows of the catalogue are told by the transaction that wrote them: every change writes a row that no template has,
 * and every removal shows in the count. pg_class is told by its meaning, since emptying and analyzing a table writes
 * there too. Statistics of columns count, as they change plans.
 */
const CATALOGUE_SQL = `
  select string_agg(format('select %L || count(*) || ''/'' || count(*) filter (where age(xmin) <= age($1::xid)) as part from pg_catalog.%I', relname || ' ', relname), ' union all ' order by relname) as sql
    from pg_catalog.pg_class
   where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r' and not relisshared and relname <> 'pg_class' and relpersistence = 'p'`;

const RELATIONS_SQL = `
  select 'pg_class ' || count(*) || '/' || sum(hashtextextended(concat_ws(' ', oid, relname, relnamespace, reltype, relowner, relam, reltablespace,
      relpersistence, relkind, relnatts, relchecks, relhasrules, relhastriggers, relhassubclass, relrowsecurity, relforcerowsecurity, relispopulated,
      relreplident, relispartition, reloptions::text, relacl::text, relpartbound::text), 0)) as part
    from pg_catalog.pg_class
  union all
  select concat_ws(' ', 'database', datdba, datacl::text, datconnlimit, shobj_description(pg_database.oid, 'pg_database'),
      (select string_agg(setrole || setconfig::text, ' ' order by setrole) from pg_catalog.pg_db_role_setting where setdatabase = pg_database.oid))
    from pg_catalog.pg_database where datname = current_database()`;

/** Relations of the application's, with how much is in them. */
const TABLES_SQL = `
  select c.oid::regclass::text as name, c.relkind as kind, pg_catalog.pg_relation_size(c.oid)::float8 as bytes
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'm') and n.nspname <> 'pg_catalog' and n.nspname <> 'information_schema' and n.nspname !~ '^pg_(toast|temp)'
     and pg_catalog.pg_relation_size(c.oid) > 0`;

const SEQUENCES_SQL = `
  select string_agg(format('select %L as name, last_value::text as value, is_called as called from %s', c.oid::regclass, c.oid::regclass), ' union all ') as sql
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.relkind = 'S' and n.nspname !~ '^pg_'`;

interface TableRow {
  readonly name: string;
  readonly kind: "r" | "m";
  readonly bytes: number;
}

/** With an empty search_path every name above comes out qualified, and means the same everywhere. */
const PREPARE = "set search_path = ''";

/**
 * The statement that hashes the catalogue, written by the server itself, so that no catalogue of its version is missed.
 */
async function catalogueHash(client: pg.Client, xid: string): Promise<string> {
  const written = await client.query<{ sql: string }>(CATALOGUE_SQL);
  const { rows } = await client.query<{ part: string }>(`${written.rows[0]?.sql} union all ${RELATIONS_SQL}`, [xid]);
  return rows
    .map(({ part }) => part)
    .sort()
    .join("\n");
}

interface RowHash {
  readonly name: string;
  /** Over the template's rows. */
  readonly hash: string;
  /** Rows that are not the template's. */
  readonly added: number;
}

async function rowHashes(client: pg.Client, names: readonly string[], xid: string): Promise<RowHash[]> {
  if (names.length === 0) return [];
  const one = (name: string) =>
    `select ${literal(name)} as name, count(*) filter (where ${isNew("t")})::integer as added,
            count(*) filter (where not ${isNew("t")}) || '/' || coalesce(sum(hashtextextended(t.ctid::text || t::text, 0)) filter (where not ${isNew("t")}), 0) as hash
       from ${name} t`;
  return (await client.query<RowHash>(names.map(one).join(" union all "), [xid])).rows;
}
const NO_ROWS = "0/0";

const isNew = (table: string, xid = "$1::xid") => `(age(${table}.xmin) <= age(${xid}))`;

async function sequenceValues(client: pg.Client): Promise<Fingerprint["sequences"]> {
  const written = await client.query<{ sql: string | null }>(SEQUENCES_SQL);
  const sql = written.rows[0]?.sql;
  if (!sql) return {};
  const { rows } = await client.query<{ name: string; value: string; called: boolean }>(sql);
  return Object.fromEntries(rows.map(({ name, value, called }) => [name, [value, called] as const]));
}

/** Reads what a database looks like; as the superuser, who sees every row. */
export async function takeFingerprint(client: pg.Client): Promise<Fingerprint> {
  await client.query(PREPARE);
  const { rows } = await client.query<{ xid: string }>("select pg_current_xact_id()::xid::text as xid");
  const xid = rows[0]?.xid ?? "";
  const { rows: tables } = await client.query<TableRow>(TABLES_SQL);
  const hashes = await rowHashes(
    client,
    tables.map(({ name }) => name),
    xid,
  );
  return {
    xid,
    catalogue: await catalogueHash(client, xid),
    rows: Object.fromEntries(hashes.filter(({ hash }) => hash !== NO_ROWS).map(({ name, hash }) => [name, hash])),
    sequences: await sequenceValues(client),
  };
}

/**
 * Brings a database back to what its template was, where that can be done without making it anew: rows that were added
 * are deleted, sequences set back. Nobody else may be connected.
 *
 * @returns whether it is as the template was; if not, it must be made anew: objects, rights or the template's rows
 *   changed
 */
export async function resetDatabase(client: pg.Client, fingerprint: Fingerprint): Promise<boolean> {
  const { xid } = fingerprint;
  await client.query(PREPARE);
  if ((await catalogueHash(client, xid)) !== fingerprint.catalogue) return false;
  const { rows: tables } = await client.query<TableRow>(TABLES_SQL);
  const seeded = Object.keys(fingerprint.rows);
  const hashes = await rowHashes(client, seeded, xid);
  if (hashes.length !== seeded.length || hashes.some(({ name, hash }) => hash !== fingerprint.rows[name])) return false;
  const grown = new Set(hashes.filter(({ added }) => added > 0).map(({ name }) => name));
  const filled = tables.filter(({ name }) => !Object.hasOwn(fingerprint.rows, name) || grown.has(name));
  if (filled.some(({ kind }) => kind === "m")) return false;
  if (filled.reduce((sum, { bytes }) => sum + bytes, 0) > RESET_MAX_BYTES) return false;

  const values = await sequenceValues(client);
  const moved = Object.entries(fingerprint.sequences).filter(
    ([name, [value, called]]) => values[name]?.[0] !== value || values[name]?.[1] !== called,
  );
  if (filled.length > 0 || moved.length > 0) {
    // No trigger and no foreign key has a say: TRUNCATE would want every table that refers to one of these, empty or
    // not.
    await client.query(
      [
        "begin; set local session_replication_role = replica",
        ...filled.map(
          ({ name }) => `delete from ${name}${grown.has(name) ? ` where ${isNew(name, `${literal(xid)}::xid`)}` : ""}`,
        ),
        ...moved.map(([name, [value, called]]) => `select pg_catalog.setval(${literal(name)}, ${value}, ${called})`),
        "commit",
      ].join(";\n"),
    );
  }
  // Gives the pages back, so that tables are empty files again and the next reset finds nothing there.
  if (filled.length > 0) await client.query(`vacuum ${filled.map(({ name }) => name).join(", ")}`);
  return true;
}
