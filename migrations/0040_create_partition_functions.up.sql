-- Phase: 4
-- Why: partitions are made ahead and dropped by age by two functions, which `aiwdb maintain` calls. The migrations make
--   default partitions only, so that the schema does not depend on the day it was made; rows that land there before
--   their month exists are moved into it. Readers queue behind a lock that waits, so each waits half a second at most.
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
set lock_timeout = '500ms'
as $$
declare
  v_parent record;
  v_months timestamptz[];
  v_month timestamptz;
  v_key record;
  v_last timestamptz := date_trunc('month', now()) + make_interval(months => p_months_ahead);
begin
  if p_months_ahead not between 0 and 120 then
    raise exception 'p_months_ahead is %, which is not between 0 and 120 months.', p_months_ahead
      using errcode = 'invalid_parameter_value';
  end if;

  -- One at a time; a second run waits and then finds nothing to do. Nobody queues behind this lock.
  perform set_config('lock_timeout', '10s', true);
  perform pg_advisory_xact_lock(hashtext('ai-workflow-database maintenance.make_partitions'));
  perform set_config('lock_timeout', '500ms', true);
  -- For the audit trail, to which a row that is moved is the same row.
  perform set_config('aiwdb.maintenance', 'move', true);

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
    -- This month, those ahead, and the months of rows that wait in the default partition. What a wrong clock dated
    -- before 1970, infinity, or further ahead stays there, where retention finds it row by row.
    execute format(
      'select array_agg(month order by month) from ('
      'select date_trunc(''month'', %1$I) from partitions.%2$I where %1$I >= $1 and %1$I < $3 + interval ''1 month'' '
      'union select generate_series($2, $3, interval ''1 month'')) as needed (month)',
      v_parent.key_column, v_parent.default_table
    )
    into v_months
    using '1970-01-01'::timestamptz, date_trunc('month', now()), v_last;

    foreach v_month in array v_months loop
      partition_name := format('%s_%s', v_parent.parent_table, to_char(v_month, '"y"YYYY"m"MM'));
      starts_at := v_month;
      continue when to_regclass(format('partitions.%I', partition_name)) is not null;

      -- Attaching would fail on a row of this month in the default partition, so none may arrive in the meantime. Rows
      -- are moved, indexed and checked beforehand, and readers see them in the default partition: they wait only while
      -- the partition is attached, which has nothing left to look at.
      execute format('lock table partitions.%I in share row exclusive mode', v_parent.default_table);
      execute format(
        'create table partitions.%1$I ('
        'like %2$I.%3$I including defaults including constraints, '
        'constraint month check (%4$I >= %5$L and %4$I < %6$L))',
        partition_name, v_parent.parent_schema, v_parent.parent_table,
        v_parent.key_column, v_month, v_month + interval '1 month'
      );
      execute format(
        'with moved as (delete from partitions.%1$I where %2$I >= $1 and %2$I < $2 returning *) '
        'insert into partitions.%3$I select * from moved',
        v_parent.default_table, v_parent.key_column, partition_name
      )
      using v_month, v_month + interval '1 month';
      get diagnostics moved_rows = row_count;
      -- Keys and indexes behind the rows, which is quicker; attaching takes them for the log's own.
      for v_key in
        select
          format('alter table partitions.%I add %s', partition_name, pg_get_constraintdef(oid)) as statement
        from pg_catalog.pg_constraint
        where conrelid = v_parent.parent_id and contype in ('p', 'f')
        union all
        select regexp_replace(
          pg_get_indexdef(indexrelid), '^CREATE INDEX .* ON ONLY \S+', format('create index on partitions.%I', partition_name)
        )
        from pg_catalog.pg_index
        where indrelid = v_parent.parent_id and not indisunique
      loop
        execute v_key.statement;
      end loop;
      execute format(
        'alter table %I.%I attach partition partitions.%I for values from (%L) to (%L)',
        v_parent.parent_schema, v_parent.parent_table, partition_name, v_month, v_month + interval '1 month'
      );
      execute format('alter table partitions.%I drop constraint month', partition_name);
      return next;
    end loop;
  end loop;
  perform set_config('aiwdb.maintenance', '', true);
end
$$;

comment on function maintenance.make_partitions(integer, regclass) is
  'Makes the monthly partitions (UTC) of every log table, or of p_parent only, up to p_months_ahead months from now, and moves rows out of the default partitions. Returns what was made. Where there are many rows to move, call it table by table, as maintenance.run does: writes to a default partition wait until the end of the transaction.';
revoke execute on function maintenance.make_partitions(integer, regclass) from public;

create function maintenance.try_partitions(p_months_ahead integer, p_parent regclass)
returns table (partition_name text, starts_at timestamptz, moved_rows bigint, problem text)
language plpgsql
set search_path = ''
as $$
begin
  for v_try in 1..3 loop
    begin
      return query
      select made.partition_name, made.starts_at, made.moved_rows, null::text
      from maintenance.make_partitions(p_months_ahead, p_parent) as made;
      return;
    exception
      when invalid_parameter_value then
        raise;
      when lock_not_available or deadlock_detected then
        problem := format('%s (%s)', sqlerrm, sqlstate);
      when others then
        problem := format('%s (%s)', sqlerrm, sqlstate);
        exit;
    end;
    -- Nothing is held meanwhile: what failed was undone.
    if v_try < 3 then
      perform pg_sleep(0.2 * v_try);
    end if;
  end loop;
  return next;
end
$$;

comment on function maintenance.try_partitions(integer, regclass) is
  'Like maintenance.make_partitions for one log table, but tries three times to get its locks; what stopped it is then a row with a problem, so that one busy table does not end the maintenance of the others.';
revoke execute on function maintenance.try_partitions(integer, regclass) from public;

create function maintenance.drop_partitions(p_parent regclass, p_older_than timestamptz, p_limit integer default null)
returns table (partition_name text, estimated_rows bigint)
language plpgsql
set search_path = ''
set lock_timeout = '500ms'
as $$
begin
  -- A partition goes when all of its month is past the limit; until then its rows stay.
  for partition_name, estimated_rows in
    select part.partition_name, part.estimated_rows
    from maintenance.partitions as part
    where format('%I.%I', part.parent_schema, part.parent_table)::regclass = p_parent
      and part.ends_at <= p_older_than
    order by part.ends_at
    limit p_limit
  loop
    -- Who reads the log waits for this lock and the next, for foreign keys, so both together have to be short.
    execute format('lock table only %s in access exclusive mode', p_parent);
    perform set_config('lock_timeout', '300ms', true);
    -- Another run may have been faster.
    if to_regclass(format('partitions.%I', partition_name)) is not null then
      execute format('drop table partitions.%I', partition_name);
      return next;
    end if;
  end loop;
end
$$;

comment on function maintenance.drop_partitions(regclass, timestamptz, integer) is
  'Drops the partitions of a log table whose month ended before a limit, the oldest first and at most p_limit. Returns them with their estimated rows.';
revoke execute on function maintenance.drop_partitions(regclass, timestamptz, integer) from public;
