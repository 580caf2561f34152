-- Phase: 4
-- Why: partitions are made ahead and dropped by age by two functions, which `aiwdb maintain` calls. The migrations make
--   default partitions only, so that the schema does not depend on the day it was made; rows that land there before
--   their month exists are moved into it.
-- Lock: none that anyone waits for: what is made here is new.

create schema maintenance;
comment on schema maintenance is 'What `aiwdb maintain` and `aiwdb status` call: partitions, retention, refresh, reports.';

-- The reports may be read by everybody; the functions that change something are the owner's alone.
grant usage on schema maintenance to app_user, app_readonly, app_monitor;

create view maintenance.partitions as
select
  parent_schema.nspname::text as parent_schema,
  parent.relname::text as parent_table,
  child.relname::text as partition_name,
  pg_get_expr(child.relpartbound, child.oid) = 'DEFAULT' as is_default,
  (regexp_match(pg_get_expr(child.relpartbound, child.oid), $re$FROM \('([^']+)'\)$re$))[1]::timestamptz as starts_at,
  (regexp_match(pg_get_expr(child.relpartbound, child.oid), $re$TO \('([^']+)'\)$re$))[1]::timestamptz as ends_at,
  greatest(child.reltuples, 0)::bigint as estimated_rows,
  pg_total_relation_size(child.oid) as total_bytes
from pg_catalog.pg_inherits as link
inner join pg_catalog.pg_class as parent on parent.oid = link.inhparent and parent.relkind = 'p'
inner join pg_catalog.pg_namespace as parent_schema on parent_schema.oid = parent.relnamespace
inner join pg_catalog.pg_class as child on child.oid = link.inhrelid and child.relkind = 'r'
where parent_schema.nspname in ('public', 'audit');

comment on view maintenance.partitions is
  'Every partition with its month and size; rows in a default partition mean that make_partitions has not run in time.';
grant select on maintenance.partitions to app_readonly, app_monitor;

create function maintenance.partition_key(p_parent regclass) returns name
language sql
stable
return (
  select attribute.attname
  from pg_catalog.pg_partitioned_table as partitioned
  inner join pg_catalog.pg_attribute as attribute
    on attribute.attrelid = partitioned.partrelid and attribute.attnum = partitioned.partattrs[0]
  where partitioned.partrelid = p_parent
);

comment on function maintenance.partition_key(regclass) is 'Column that decides the partition; null for a plain table.';
revoke execute on function maintenance.partition_key(regclass) from public;

create function maintenance.make_partitions(p_months_ahead integer default 3, p_parent regclass default null)
returns table (partition_name text, starts_at timestamptz, moved_rows bigint)
language plpgsql
set search_path = ''
set timezone = 'UTC'
-- Rather give up and come again at the next run than make every login wait behind a waiting lock.
set lock_timeout = '2s'
as $$
declare
  v_parent record;
  v_month timestamptz;
  v_last timestamptz := date_trunc('month', now()) + make_interval(months => p_months_ahead);
begin
  if p_months_ahead not between 0 and 120 then
    raise exception 'p_months_ahead is %, which is not between 0 and 120 months.', p_months_ahead
      using errcode = 'invalid_parameter_value';
  end if;

  -- One at a time; a second run waits and then finds nothing to do.
  perform pg_advisory_xact_lock(hashtext('ai-workflow-database maintenance.make_partitions'));

  for v_parent in
    select
      class.oid as parent_id,
      namespace.nspname as parent_schema,
      class.relname as parent_table,
      maintenance.partition_key(class.oid) as key_column,
      (
        select child.relname
        from pg_catalog.pg_class as child
        where child.oid = partitioned.partdefid
      ) as default_table
    from pg_catalog.pg_partitioned_table as partitioned
    inner join pg_catalog.pg_class as class on class.oid = partitioned.partrelid
    inner join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    where namespace.nspname in ('public', 'audit')
      and partitioned.partdefid <> 0
      and (p_parent is null or class.oid = p_parent)
    order by 2, 3
  loop
    -- From the oldest row that waits in the default partition, or from this month.
    execute format(
      'select date_trunc(''month'', least(min(%1$I), now())) from partitions.%2$I',
      v_parent.key_column, v_parent.default_table
    )
    into v_month;
    v_month := coalesce(v_month, date_trunc('month', now()));

    while v_month <= v_last loop
      partition_name := format('%s_%s', v_parent.parent_table, to_char(v_month, '"y"YYYY"m"MM'));
      starts_at := v_month;

      -- A gap of old months without rows needs no partitions.
      if to_regclass(format('partitions.%I', partition_name)) is null
        and (v_month >= date_trunc('month', now()) or maintenance.has_rows(v_parent.parent_id, v_month)) then
        -- Attaching would fail on a row of this month in the default partition, so none may arrive in the meantime.
        execute format('lock table partitions.%I in access exclusive mode', v_parent.default_table);
        execute format(
          'create table partitions.%I (like %I.%I including defaults including constraints)',
          partition_name, v_parent.parent_schema, v_parent.parent_table
        );
        execute format(
          'with moved as (delete from partitions.%1$I where %2$I >= $1 and %2$I < $2 returning *) '
          'insert into partitions.%3$I select * from moved',
          v_parent.default_table, v_parent.key_column, partition_name
        )
        using v_month, v_month + interval '1 month';
        get diagnostics moved_rows = row_count;
        execute format(
          'alter table %I.%I attach partition partitions.%I for values from (%L) to (%L)',
          v_parent.parent_schema, v_parent.parent_table, partition_name, v_month, v_month + interval '1 month'
        );
        return next;
      end if;

      v_month := v_month + interval '1 month';
    end loop;
  end loop;
end
$$;

create function maintenance.has_rows(p_parent regclass, p_month timestamptz) returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  v_found boolean;
begin
  execute format(
    'select exists (select from %1$s where %2$I >= $1 and %2$I < $2)', p_parent, maintenance.partition_key(p_parent)
  )
  into v_found
  using p_month, p_month + interval '1 month';
  return v_found;
end
$$;

comment on function maintenance.make_partitions(integer, regclass) is
  'Makes the monthly partitions (UTC) of every log table, or of p_parent only, up to p_months_ahead months from now, and moves rows out of the default partitions. Returns what was made. Where there are many rows to move, call it table by table, as maintenance.run does: a default partition is locked until the end of the transaction.';
comment on function maintenance.has_rows(regclass, timestamptz) is 'Whether a log table has a row in the month that begins then.';
revoke execute on function maintenance.make_partitions(integer, regclass) from public;
revoke execute on function maintenance.has_rows(regclass, timestamptz) from public;

create function maintenance.drop_partitions(p_parent regclass, p_older_than timestamptz)
returns table (partition_name text, estimated_rows bigint)
language plpgsql
set search_path = ''
set lock_timeout = '2s'
as $$
begin
  -- A partition goes when all of its month is past the limit; until then its rows stay.
  for partition_name, estimated_rows in
    select part.partition_name, part.estimated_rows
    from maintenance.partitions as part
    where format('%I.%I', part.parent_schema, part.parent_table)::regclass = p_parent
      and part.ends_at <= p_older_than
    order by part.ends_at
  loop
    execute format('drop table partitions.%I', partition_name);
    return next;
  end loop;
end
$$;

comment on function maintenance.drop_partitions(regclass, timestamptz) is
  'Drops the partitions of a log table whose month ended before a limit. Returns them with their estimated rows.';
revoke execute on function maintenance.drop_partitions(regclass, timestamptz) from public;
