-- Phase: 4
-- Why: what is wrong with the data or the schema can be asked for: rows that break a constraint not validated yet,
--   indexes that repeat another, foreign keys without an index.
-- Lock: none that anyone waits for: what is made here is new.

create function maintenance.check_violations(p_rows_per_check integer default 100)
returns table (table_name text, constraint_name text, row_key text, row_values jsonb)
language plpgsql
stable
set search_path = ''
as $$
declare
  v_check record;
begin
  for v_check in
    select
      conrelid::regclass as relation,
      conname,
      pg_get_expr(conbin, conrelid) as expression,
      array(
        select attname
        from pg_catalog.pg_attribute
        where attrelid = conrelid and attnum = any (conkey)
        order by attnum
      ) as columns
    from pg_catalog.pg_constraint
    where contype = 'c'
      and not convalidated
      and coninhcount = 0
      and connamespace in ('public'::regnamespace, 'audit'::regnamespace)
    order by 1, 2
  loop
    table_name := v_check.relation::text;
    constraint_name := v_check.conname;
    -- A null lets a row pass, as it does in the constraint. Keys are id or session_id in every table with checks.
    for row_key, row_values in
      execute format(
        'select coalesce(entry.value ->> ''id'', entry.value ->> ''session_id''), '
        'audit.mask_secrets((select jsonb_object_agg(name, entry.value -> name) from unnest($1) as name)) '
        'from (select to_jsonb(source) as value from %s as source where not (%s) limit $2) as entry',
        v_check.relation, v_check.expression
      )
      using v_check.columns, p_rows_per_check
    loop
      return next;
    end loop;
  end loop;
end
$$;

comment on function maintenance.check_violations(integer) is
  'Rows that break a check which is not validated yet, at most p_rows_per_check per check, with the values concerned, secrets masked.';
revoke execute on function maintenance.check_violations(integer) from public;

create function maintenance.validate_checks()
returns table (table_name text, constraint_name text, validated boolean, problem text)
language plpgsql
set search_path = ''
as $$
begin
  for table_name, constraint_name in
    select conrelid::regclass::text, conname
    from pg_catalog.pg_constraint
    where contype = 'c'
      and not convalidated
      and coninhcount = 0
      and connamespace in ('public'::regnamespace, 'audit'::regnamespace)
    order by 1, 2
  loop
    validated := true;
    problem := null;
    begin
      execute format('alter table %s validate constraint %I', table_name, constraint_name);
    exception
      when check_violation then
        validated := false;
        problem := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function maintenance.validate_checks() is
  'Validates every check that no row breaks and says which ones rows break; those stay in force for new rows. Run it again once maintenance.check_violations is empty.';
revoke execute on function maintenance.validate_checks() from public;

create view maintenance.redundant_indexes as
with candidate as (
  select
    entry.indexrelid,
    entry.indrelid,
    entry.indisunique or entry.indisprimary as is_key,
    entry.indkey::text as columns,
    entry.indclass::text as classes,
    entry.indcollation::text as collations,
    entry.indoption::text as options,
    coalesce(pg_get_expr(entry.indexprs, entry.indrelid), '') as expressions,
    coalesce(pg_get_expr(entry.indpred, entry.indrelid), '') as predicate
  from pg_catalog.pg_index as entry
  inner join pg_catalog.pg_class as class on class.oid = entry.indrelid
  inner join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where namespace.nspname in ('public', 'audit')
)
select
  one.indrelid::regclass::text as table_name,
  one.indexrelid::regclass::text as index_name,
  other.indexrelid::regclass::text as repeats
from candidate as one
inner join candidate as other using (indrelid, columns, classes, collations, options, expressions, predicate)
where one.indexrelid <> other.indexrelid
  -- Of a key and a plain index the plain one is too many; of two alike, the younger.
  and not one.is_key
  and (other.is_key or other.indexrelid < one.indexrelid);

comment on view maintenance.redundant_indexes is 'Indexes over the very same columns as a key or as an older index; should be empty.';

create view maintenance.uncovered_foreign_keys as
select
  constraint_entry.conrelid::regclass::text as table_name,
  constraint_entry.conname::text as constraint_name
from pg_catalog.pg_constraint as constraint_entry
inner join pg_catalog.pg_namespace as namespace on namespace.oid = constraint_entry.connamespace
where constraint_entry.contype = 'f'
  and namespace.nspname in ('public', 'audit')
  and not exists (
    select
    from pg_catalog.pg_index as entry
    where entry.indrelid = constraint_entry.conrelid
      and entry.indpred is null
      and (entry.indkey::smallint[])[0:cardinality(constraint_entry.conkey) - 1] @> constraint_entry.conkey
  );

comment on view maintenance.uncovered_foreign_keys is
  'Foreign keys without an index on their columns, so that deleting what they refer to scans the table; should be empty.';

grant select on maintenance.redundant_indexes, maintenance.uncovered_foreign_keys to app_readonly, app_monitor;
