import type { Client } from "pg";

/** Schemas that the migrations make or fill. */
const SCHEMAS = "('public', 'audit', 'partitions', 'maintenance', 'privacy')";
/** SQL for whether an object is ours: no extension made it. */
const OURS = (oid: string, classId: string) => `not exists (
  select from pg_depend where pg_depend.objid = ${oid} and pg_depend.classid = '${classId}'::regclass and deptype = 'e')`;
const RELATION = `namespace.nspname in ${SCHEMAS} and class.relname !~ '^pgmigrations' and ${OURS("class.oid", "pg_class")}`;

const QUERIES = [
  `select 'schema ' || nspname || ' ' || coalesce(nspacl::text, '-') || ' ' || coalesce(obj_description(oid, 'pg_namespace'), '-')
   from pg_namespace where nspname in ${SCHEMAS}`,

  `select format('relation %s.%s %s %s owner %s acl %s options %s bound %s comment %s', nspname, relname, relkind, relpersistence,
     relowner::regrole, coalesce(relacl::text, '-'), coalesce(reloptions::text, '-'),
     coalesce(pg_get_expr(relpartbound, class.oid), '-'), coalesce(obj_description(class.oid, 'pg_class'), '-'))
   from pg_class as class join pg_namespace as namespace on namespace.oid = relnamespace
   where relkind in ('r', 'p', 'v', 'm', 'S') and ${RELATION}`,

  // The place is counted among the columns that exist. A dropped column keeps its number, and no dump shows that.
  `select format('column %s.%s.%s %s %s notnull %s default %s identity %s acl %s comment %s', nspname, relname,
     row_number() over (partition by attrelid order by attnum), attname,
     format_type(atttypid, atttypmod), attnotnull, coalesce(pg_get_expr(adbin, adrelid), '-'), attidentity,
     coalesce(attacl::text, '-'), coalesce(col_description(class.oid, attnum), '-'))
   from pg_attribute join pg_class as class on class.oid = attrelid join pg_namespace as namespace on namespace.oid = relnamespace
   left join pg_attrdef on adrelid = attrelid and adnum = attnum
   where attnum > 0 and not attisdropped and relkind in ('r', 'p', 'v', 'm') and ${RELATION}`,

  `select format('constraint %s.%s.%s %s valid %s', nspname, relname, conname, pg_get_constraintdef(entry.oid), convalidated)
   from pg_constraint as entry join pg_class as class on class.oid = conrelid join pg_namespace as namespace on namespace.oid = relnamespace
   where ${RELATION}`,

  `select format('index %s valid %s', pg_get_indexdef(indexrelid), indisvalid)
   from pg_index join pg_class as class on class.oid = indrelid join pg_namespace as namespace on namespace.oid = relnamespace
   where ${RELATION}`,

  `select format('trigger %s.%s %s enabled %s', nspname, relname, pg_get_triggerdef(entry.oid), tgenabled)
   from pg_trigger as entry join pg_class as class on class.oid = tgrelid join pg_namespace as namespace on namespace.oid = relnamespace
   where not tgisinternal and ${RELATION}`,

  `select format('view %s.%s %s', nspname, relname, pg_get_viewdef(class.oid))
   from pg_class as class join pg_namespace as namespace on namespace.oid = relnamespace where relkind in ('v', 'm') and ${RELATION}`,

  `select format('function %s.%s %s acl %s comment %s', nspname, proname, pg_get_functiondef(entry.oid), coalesce(proacl::text, '-'),
     coalesce(obj_description(entry.oid, 'pg_proc'), '-'))
   from pg_proc as entry join pg_namespace as namespace on namespace.oid = pronamespace
   where nspname in ${SCHEMAS} and prokind in ('f', 'p') and ${OURS("entry.oid", "pg_proc")}`,

  `select format('enum %s.%s %s', nspname, typname, (select array_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = entry.oid))
   from pg_type as entry join pg_namespace as namespace on namespace.oid = typnamespace
   where typtype = 'e' and nspname in ${SCHEMAS}`,

  `select format('policy %s %s', polrelid::regclass, polname) from pg_policy`,
  `select format('extension %s', extname) from pg_extension`,
  `select format('default acl %s %s %s', defaclrole::regrole, defaclnamespace::regnamespace, defaclacl) from pg_default_acl`,
];

/** Everything the catalogue holds about the migrations' objects, one line each, in a stable order. */
export async function readCatalogue(client: Client): Promise<string[]> {
  const lines: string[] = [];
  for (const sql of QUERIES) {
    const { rows } = await client.query<[string]>({ text: sql, rowMode: "array" });
    lines.push(...rows.map(([line]) => line));
  }
  return lines.sort();
}
