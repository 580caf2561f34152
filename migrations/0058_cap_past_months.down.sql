-- Phase: 4
-- Why: takes back the limit to the months of the past.
-- Lock: none that anyone waits for.
-- Data loss: none; what is deleted in the function is moved.

create or replace function maintenance.make_partitions(p_months_ahead integer default 3, p_parent regclass default null)
returns table (partition_name text, starts_at timestamptz, moved_rows bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
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
  insert into maintenance.turns (task) values ('make_partitions') on conflict do nothing;
  perform from maintenance.turns where task = 'make_partitions' for update;
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
