import type { Client } from "pg";

/** Schemas whose functions are the package's. */
export const OUR_SCHEMAS = ["audit", "maintenance", "partitions", "pgbouncer", "privacy", "public"];

/** Kinds of objects. Each is planted by itself, as a type and a relation can't have the same name. */
export const SHADOW_KINDS = ["types", "views", "tables", "functions", "operators"] as const;
export type ShadowKind = (typeof SHADOW_KINDS)[number];

const OURS = `proc.pronamespace = any (select oid from pg_namespace where nspname = any ('{${OUR_SCHEMAS.join(",")}}'))
  and not exists (select from pg_depend where objid = proc.oid and classid = 'pg_proc'::regclass and deptype = 'e')`;

/** Words and operators in the package's functions: every name that these look up, and more. */
const TOKENS = `
  select distinct token[1] as token
  from pg_proc as proc
  cross join regexp_matches(pg_get_functiondef(proc.oid), '[a-z_][a-z0-9_]*|[-+*/<>=~!@#%^&|?]+', 'g') as token
  where ${OURS} and proc.prokind in ('f', 'p')`;

/** Statements that make an object with a name in use. Each evaluation of the object calls spy(). */
function statementsOf(kind: ShadowKind, schema: string): string {
  const call = (name: string) => `format('%I.spy(%L)', '${schema}', '${kind} ' || ${name})`;
  const columns = (each: string) => `(
    select string_agg(format(${each}, format_type(atttypid, atttypmod), attname), ', ' order by attnum)
    from pg_attribute where attrelid = class.oid and attnum > 0 and not attisdropped)`;
  const relation = `
    from (select distinct on (relname) * from pg_class where relkind in ('r', 'p', 'v', 'm') order by relname, oid) as class
    where relname in (${TOKENS})`;
  const body = (set: string, name: string) =>
    `format('language plpgsql as %L', format('begin perform %s; %s end', ${call(name)}, case when ${set} then 'return;' else 'return null;' end))`;
  switch (kind) {
    case "types":
      return `
        select distinct on (typname)
          format('create domain %I.%I as %s check (%s)', '${schema}', typname,
            case when typtype in ('b', 'e', 'd', 'r') then format_type(oid, null) else 'pg_catalog.text' end, ${call("typname")}) as sql
        from pg_type where typname in (${TOKENS}) and typrelid = 0 and typelem = 0 or typname = 'name'
        order by typname, oid`;
    case "views":
      return `
        select format('create view %1$I.%2$I as select %3$s from (select 1) as one where %4$s; grant all on %1$I.%2$I to public',
          '${schema}', relname, ${columns("'null::%s as %I'")}, ${call("relname")}) as sql ${relation}`;
    case "tables":
      return `
        select format('create table %1$I.%2$I (%3$s, check (%4$s)); grant all on %1$I.%2$I to public',
          '${schema}', relname, ${columns("'%2$I %1$s'")}, ${call("relname")}) as sql ${relation}`;
    case "functions":
      return `
        select format('create function %I.%I(%s) returns %s %s', '${schema}', proname, pg_get_function_identity_arguments(oid),
          coalesce(pg_get_function_result(oid), 'void'), ${body("proretset", "proname")}) as sql
        from pg_proc where proname in (${TOKENS}) and prokind in ('f', 'a') and proname <> 'spy'`;
    case "operators":
      return `
        select unnest(array[
          format('create function %I.%I(%s) returns %s %s', '${schema}', 'operator_' || oid,
            concat_ws(', ', format_type(nullif(oprleft, 0), null), format_type(oprright, null)), format_type(oprresult, null),
            ${body("false", "oprname")}),
          format('create operator %1$I.%2$s (function = %1$I.%3$I, %4$s)', '${schema}', oprname, 'operator_' || oid, concat_ws(', ',
            'leftarg = ' || format_type(nullif(oprleft, 0), null), 'rightarg = ' || format_type(oprright, null)))]) as sql
        from pg_operator where oprname in (${TOKENS}) and oprnamespace = 'pg_catalog'::regnamespace`;
  }
}

/**
 * Fills a schema of the attacker with objects whose names the package's functions use.
 *
 * @param admin a connection that reads the catalogue
 * @param attacker a connection that makes, and so owns, the objects
 * @returns the number of objects
 */
export async function plantShadows(admin: Client, attacker: Client, kind: ShadowKind, schema: string): Promise<number> {
  // Without a schema in the path, so that every name in the statements is written with its own.
  await admin.query("set search_path = pg_catalog");
  const { rows } = await admin.query<{ sql: string }>(statementsOf(kind, schema));
  await admin.query("reset search_path");
  await attacker.query("set search_path = pg_catalog");
  await attacker.query(
    `create function ${schema}.spy(what pg_catalog.text) returns pg_catalog.bool language plpgsql set search_path = pg_catalog
     as $$ begin raise notice 'spied: % as %', what, current_user; return true; end $$`,
  );
  let planted = 0;
  for (const { sql } of rows) {
    // Some can't be made at all, such as a function with an argument of type internal.
    planted += await attacker.query(sql).then(
      () => 1,
      () => 0,
    );
  }
  return planted;
}

/** Signatures of the package's functions, by a condition on `proc`. */
export async function functionsWhere(client: Client, condition: string): Promise<string[]> {
  const { rows } = await client.query<{ signature: string }>(
    `select format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(proc.oid)) as signature
     from pg_proc as proc join pg_namespace as namespace on namespace.oid = pronamespace
     where ${OURS} and (${condition}) order by 1`,
  );
  return rows.map(({ signature }) => signature);
}
