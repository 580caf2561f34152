-- Phase: 4
-- Why: the retention policies are rows of public.data_retention_policies; one procedure carries them out, in batches with
--   a commit after each, so that no lock is held for longer than a batch.
-- Lock: none that anyone waits for: what is made here is new.

create function maintenance.resolve_table(p_table_name text) returns regclass
language sql
stable
return (
  select class.oid::regclass
  from pg_catalog.pg_class as class
  inner join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.relname = p_table_name and class.relkind in ('r', 'p') and namespace.nspname in ('public', 'audit')
);

comment on function maintenance.resolve_table(text) is 'A table of the application by the name a policy gives, without schema; null if there is none.';

create function maintenance.retention_batch(p_policy_id uuid, p_cutoff timestamptz, p_batch_size integer)
returns table (affected integer, problem text)
language plpgsql
set search_path = ''
set lock_timeout = '2s'
as $$
declare
  v_policy public.data_retention_policies;
  v_table regclass;
  v_source text;
  v_column text;
  v_where text;
  v_set text;
begin
  select * into strict v_policy from public.data_retention_policies where id = p_policy_id;
  v_table := maintenance.resolve_table(v_policy.table_name);
  v_column := v_policy.conditions ->> 'column';
  affected := 0;

  if v_table is null then
    problem := format('There is no table %s.', v_policy.table_name);
  elsif v_column is null then
    problem := 'conditions has no key column, so the age of a row is unknown.';
  elsif v_policy.policy_type = 'ARCHIVE' then
    problem := 'ARCHIVE has no archive to write to here; nothing was deleted.';
  elsif v_policy.policy_type = 'ANONYMIZE' and coalesce(v_policy.conditions -> 'set', '{}') = '{}' then
    problem := 'conditions has no key set, so there is nothing to anonymize.';
  end if;
  if problem is not null then
    return next;
    return;
  end if;

  v_where := format('%I < $1', v_column);
  if v_policy.conditions ? 'match' then
    select v_where || string_agg(
      case when value is null then format(' and %I is null', key) else format(' and %I = %L', key, value) end, ''
    )
    into v_where
    from jsonb_each_text(v_policy.conditions -> 'match');
  end if;

  -- Months are dropped whole; row by row goes only what never got a month.
  v_source := v_table::text;
  if v_policy.policy_type = 'DELETE' and maintenance.partition_key(v_table) is not null then
    select format('partitions.%I', partition_name)
    into v_source
    from maintenance.partitions
    where is_default and format('%I.%I', parent_schema, parent_table)::regclass = v_table;
  end if;

  begin
    if v_policy.policy_type = 'DELETE' then
      execute format(
        'delete from %1$s where ctid = any (array(select ctid from %1$s where %2$s limit $2 for update skip locked))',
        v_source, v_where
      )
      using p_cutoff, p_batch_size;
    else
      select
        string_agg(format('%I = %L', key, value), ', '),
        v_where || ' and (' || string_agg(format('%I::text is distinct from %L', key, value), ' or ') || ')'
      into v_set, v_where
      from jsonb_each_text(v_policy.conditions -> 'set');

      -- tableoid as well, since ctid alone is not unique over partitions.
      execute format(
        'with due as (select tableoid as part, ctid as place from %1$s where %2$s limit $2 for update skip locked) '
        'update %1$s as target set %3$s from due where target.tableoid = due.part and target.ctid = due.place',
        v_source, v_where, v_set
      )
      using p_cutoff, p_batch_size;
    end if;
    get diagnostics affected = row_count;
  exception
    when others then
      affected := 0;
      problem := format('%s (%s)', sqlerrm, sqlstate);
  end;
  return next;
end
$$;

comment on function maintenance.retention_batch(uuid, timestamptz, integer) is
  'Deletes or anonymizes at most p_batch_size rows that a policy covers and that are older than p_cutoff. Returns their number, and the problem if there was one.';

-- No set clause and no security definer: a procedure with either may not commit, hence every name carries its schema.
create procedure maintenance.apply_retention(p_batch_size integer default 5000)
language plpgsql
as $$
declare
  v_policy record;
  v_started timestamptz;
  v_cutoff timestamptz;
  v_rows integer;
  v_problem text;
  v_batch record;
  v_dropped text[];
  v_purged bigint;
begin
  if p_batch_size not between 1 and 100000 then
    raise exception 'p_batch_size is %, which is not between 1 and 100000 rows.', p_batch_size
      using errcode = 'invalid_parameter_value';
  end if;

  for v_policy in
    select
      policy.*,
      maintenance.resolve_table(policy.table_name) as target,
      maintenance.partition_key(maintenance.resolve_table(policy.table_name)) as key_column
    from public.data_retention_policies as policy
    where policy.is_active
    order by policy.table_name, policy.id
  loop
    v_started := pg_catalog.clock_timestamp();
    v_cutoff := v_started - pg_catalog.make_interval(days => v_policy.retention_period_days);
    v_rows := 0;
    v_problem := null;
    v_dropped := null;
    v_purged := 0;

    if v_policy.policy_type = 'DELETE' and v_policy.key_column = v_policy.conditions ->> 'column' then
      select pg_catalog.array_agg(gone.partition_name), coalesce(pg_catalog.sum(gone.estimated_rows), 0)
      into v_dropped, v_purged
      from maintenance.drop_partitions(v_policy.target, v_cutoff) as gone;
      commit;
    end if;

    loop
      select * into v_batch from maintenance.retention_batch(v_policy.id, v_cutoff, p_batch_size);
      v_rows := v_rows + v_batch.affected;
      v_problem := v_batch.problem;
      commit;
      exit when v_problem is not null or v_batch.affected < p_batch_size;
    end loop;

    update public.data_retention_policies set last_run_at = v_started where id = v_policy.id;

    -- last_run_at says that a policy ran; the log says what it did.
    if v_dropped is not null then
      insert into audit.data_retention_logs (
        policy_id, table_name, retention_action, records_affected, criteria_applied, scheduled_at,
        execution_duration_seconds, compliance_reason, legal_basis
      )
      values (
        v_policy.id, v_policy.table_name, 'PURGE', v_purged,
        pg_catalog.jsonb_build_object('before', v_cutoff, 'partitions', pg_catalog.to_jsonb(v_dropped)),
        v_started, pg_catalog.ceil(extract(epoch from pg_catalog.clock_timestamp() - v_started)),
        pg_catalog.left(coalesce(v_policy.conditions ->> 'reason', 'The retention period is over.'), 100),
        pg_catalog.left(v_policy.conditions ->> 'legal_basis', 100)
      );
    end if;
    if v_rows > 0 or v_problem is not null then
      insert into audit.data_retention_logs (
        policy_id, table_name, retention_action, records_affected, criteria_applied, scheduled_at,
        execution_duration_seconds, execution_status, error_message, compliance_reason, legal_basis
      )
      values (
        v_policy.id, v_policy.table_name, v_policy.policy_type, v_rows,
        pg_catalog.jsonb_build_object('before', v_cutoff) || coalesce(v_policy.conditions, '{}'),
        v_started, pg_catalog.ceil(extract(epoch from pg_catalog.clock_timestamp() - v_started)),
        case
          when v_problem is null then 'SUCCESS'
          when v_policy.policy_type = 'ARCHIVE' then 'SKIPPED'
          when v_rows > 0 then 'PARTIAL'
          else 'FAILURE'
        end,
        v_problem,
        pg_catalog.left(coalesce(v_policy.conditions ->> 'reason', 'The retention period is over.'), 100),
        pg_catalog.left(v_policy.conditions ->> 'legal_basis', 100)
      );
    end if;
    commit;
  end loop;
end
$$;

comment on procedure maintenance.apply_retention(integer) is
  'Carries out every active row of public.data_retention_policies: drops partitions past their time, deletes or anonymizes other rows p_batch_size at a time with a commit after each, and writes audit.data_retention_logs.';

revoke execute on function maintenance.resolve_table(text) from public;
revoke execute on function maintenance.retention_batch(uuid, timestamptz, integer) from public;
revoke execute on procedure maintenance.apply_retention(integer) from public;
