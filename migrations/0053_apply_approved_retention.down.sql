-- Phase: 4
-- Why: takes back the rule; every active policy is carried out again, approved or not.
-- Lock: none that anyone waits for.
-- Data loss: which of the defaults were approved.

create or replace function maintenance.retention_batch(p_policy_id uuid, p_cutoff timestamptz, p_batch_size integer)
returns table (affected integer, problem text)
language plpgsql
set search_path = ''
set lock_timeout = '500ms'
as $$
declare
  v_policy public.data_retention_policies;
  v_table regclass;
  v_leaf regclass;
  v_rows integer;
  v_column text;
  v_where text;
  v_set text;
begin
  -- The audit trail says which rows went and whose they were, but keeps no copy of what is to be forgotten.
  perform set_config('aiwdb.maintenance', 'retention', true);
  for v_try in 1..3 loop
    affected := 0;
    problem := null;
    begin
      select * into v_policy from public.data_retention_policies where id = p_policy_id;
      v_table := maintenance.resolve_table(v_policy.table_name);
      v_column := v_policy.conditions ->> 'column';

      if v_table is null then
        problem := format('There is no table %s.', v_policy.table_name);
      elsif v_column is null then
        problem := 'conditions has no key column, so the age of a row is unknown.';
      elsif v_policy.policy_type = 'ARCHIVE' then
        problem := 'ARCHIVE has no archive to write to here; nothing was deleted.';
      elsif v_policy.policy_type = 'ANONYMIZE' and coalesce(v_policy.conditions -> 'set', '{}') = '{}' then
        problem := 'conditions has no key set, so there is nothing to anonymize.';
      end if;
      exit when problem is not null;

      select format('%I < $1', v_column) || coalesce(string_agg(
        case when value is null then format(' and %I is null', key) else format(' and %I = %L', key, value) end, ''
      ), '')
      into v_where
      from jsonb_each_text(coalesce(nullif(v_policy.conditions -> 'match', 'null'), '{}'));

      if v_policy.policy_type = 'ANONYMIZE' then
        select
          string_agg(format('%I = %L', key, value), ', '),
          v_where || ' and (' || string_agg(format('%I::text is distinct from %L', key, value), ' or ') || ')'
        into v_set, v_where
        from jsonb_each_text(v_policy.conditions -> 'set');
      end if;

      -- Partition by partition, since ctid is unique in one only. Months that are dropped whole need no look: row by row
      -- goes only what never got a month.
      for v_leaf in
        select class.oid
        from pg_catalog.pg_class as class
        where class.oid = v_table and class.relkind = 'r'
          or class.oid in (select inhrelid from pg_catalog.pg_inherits where inhparent = v_table)
          and (
            not maintenance.goes_by_partition(v_policy) or pg_get_expr(class.relpartbound, class.oid) = 'DEFAULT'
          )
        order by class.relname
      loop
        execute format(
          case v_policy.policy_type when 'DELETE' then 'delete from %1$s' else 'update %1$s set %3$s' end
          || ' where ctid = any (array(select ctid from %1$s where %2$s limit $2 for update skip locked))',
          v_leaf, v_where, v_set
        )
        using p_cutoff, p_batch_size - affected;
        get diagnostics v_rows = row_count;
        affected := affected + v_rows;
        exit when affected >= p_batch_size;
      end loop;
      exit;
    exception
      when lock_not_available or deadlock_detected then
        affected := 0;
        problem := format('%s (%s)', sqlerrm, sqlstate);
      when others then
        affected := 0;
        problem := format('%s (%s)', sqlerrm, sqlstate);
        exit;
    end;
    if v_try < 3 then
      perform pg_sleep(0.2 * v_try);
    end if;
  end loop;
  perform set_config('aiwdb.maintenance', '', true);
  return next;
end
$$;

comment on function maintenance.retention_batch(uuid, timestamptz, integer) is
  'Deletes or anonymizes at most p_batch_size rows that a policy covers and that are older than p_cutoff. Returns their number, and the problem if there was one.';

create or replace function maintenance.log_retention(
  p_policy_id uuid, p_action text, p_rows bigint, p_criteria jsonb, p_started timestamptz, p_status text, p_problem text
) returns void
language plpgsql
set search_path = ''
set lock_timeout = '500ms'
as $$
begin
  insert into audit.data_retention_logs (
    policy_id, table_name, retention_action, records_affected, criteria_applied, scheduled_at,
    execution_duration_seconds, execution_status, error_message, compliance_reason, legal_basis
  )
  select
    id, table_name, p_action, least(p_rows, 2147483647), p_criteria, p_started,
    ceil(extract(epoch from clock_timestamp() - p_started)), p_status, p_problem,
    left(coalesce(conditions ->> 'reason', 'The retention period is over.'), 100),
    left(conditions ->> 'legal_basis', 100)
  from public.data_retention_policies
  where id = p_policy_id;
exception
  -- What was done is done; that it can't be written down must not stop the rest.
  when others then
    raise warning 'Retention: % by policy % of % rows could not be logged: %', p_action, p_policy_id, p_rows, sqlerrm;
end
$$;

-- No set clause and no security definer: a procedure with either may not commit, hence every name carries its schema.
create or replace procedure maintenance.apply_retention(p_batch_size integer default 5000)
language plpgsql
as $$
declare
  v_policy record;
  v_started timestamptz;
  v_cutoff timestamptz;
  v_rows bigint;
  v_problem text;
  v_batch record;
  v_gone record;
  v_dropped text[];
  v_purged bigint;
begin
  if p_batch_size not between 1 and 100000 then
    raise exception 'p_batch_size is %, which is not between 1 and 100000 rows.', p_batch_size
      using errcode = 'invalid_parameter_value';
  end if;

  -- Without its list there is nothing to go on with; but it must not wait for ever either.
  perform pg_catalog.set_config('lock_timeout', '2s', true);
  for v_policy in
    select
      policy.id,
      policy.policy_type,
      policy.conditions,
      policy.retention_period_days,
      maintenance.resolve_table(policy.table_name) as target,
      maintenance.goes_by_partition(policy) as by_partition
    from public.data_retention_policies as policy
    where policy.is_active
    order by policy.table_name, policy.id
  loop
    v_started := pg_catalog.clock_timestamp();
    v_cutoff := v_started - pg_catalog.make_interval(days => v_policy.retention_period_days);

    v_dropped := null;
    v_purged := 0;
    v_problem := null;
    if v_policy.by_partition then
      -- One month and one transaction each, so that readers of the log get in between.
      for v_try in 1..3 loop
        loop
          begin
            select gone.partition_name, gone.estimated_rows
            into v_gone
            from maintenance.drop_partitions(v_policy.target, v_cutoff, 1) as gone;
            v_problem := null;
          exception
            when others then
              v_problem := pg_catalog.format('%s (%s)', sqlerrm, sqlstate);
          end;
          commit;
          exit when v_problem is not null or v_gone.partition_name is null;
          v_dropped := v_dropped || v_gone.partition_name;
          v_purged := v_purged + v_gone.estimated_rows;
        end loop;
        exit when v_problem is null or v_try = 3;
        perform pg_catalog.pg_sleep(0.2 * v_try);
      end loop;
      -- last_run_at says that a policy ran; the log says what it did.
      if v_dropped is not null or v_problem is not null then
        perform maintenance.log_retention(
          v_policy.id, 'PURGE', v_purged,
          pg_catalog.jsonb_build_object('before', v_cutoff, 'partitions', pg_catalog.to_jsonb(coalesce(v_dropped, '{}'))),
          v_started,
          case when v_problem is null then 'SUCCESS' when v_dropped is null then 'FAILURE' else 'PARTIAL' end,
          v_problem
        );
        commit;
      end if;
    end if;

    v_rows := 0;
    loop
      select batch.affected, batch.problem
      into v_batch
      from maintenance.retention_batch(v_policy.id, v_cutoff, p_batch_size) as batch;
      v_rows := v_rows + v_batch.affected;
      v_problem := v_batch.problem;
      commit;
      exit when v_problem is not null or v_batch.affected < p_batch_size;
    end loop;
    if v_rows > 0 or v_problem is not null then
      perform maintenance.log_retention(
        v_policy.id, v_policy.policy_type::text, v_rows,
        pg_catalog.jsonb_build_object('before', v_cutoff) || coalesce(v_policy.conditions, '{}'),
        v_started,
        case
          when v_problem is null then 'SUCCESS'
          when v_policy.policy_type = 'ARCHIVE' then 'SKIPPED'
          when v_rows > 0 then 'PARTIAL'
          else 'FAILURE'
        end,
        v_problem
      );
    end if;
    begin
      perform pg_catalog.set_config('lock_timeout', '500ms', true);
      update public.data_retention_policies set last_run_at = v_started where id = v_policy.id;
    exception
      when lock_not_available then
        raise warning 'Retention: policy % ran, but its last_run_at could not be written: %', v_policy.id, sqlerrm;
    end;
    commit;
  end loop;
end
$$;

comment on procedure maintenance.apply_retention(integer) is
  'Carries out every active row of public.data_retention_policies: drops partitions past their time, deletes or anonymizes other rows p_batch_size at a time with a commit after each, and writes audit.data_retention_logs.';

drop function maintenance.plan_retention(uuid, timestamptz);
delete from maintenance.retention_approvals;

-- A migration between may have given every function a path; these had it too.
do $$
declare
  v_path text := (
    select substring(setting from '^search_path=(.*)')
    from pg_proc, unnest(proconfig) as setting
    where oid = 'maintenance.drop_partitions(regclass, timestamptz, integer)'::regprocedure and setting ~ '^search_path='
  );
begin
  if v_path = 'pg_catalog, pg_temp' then
    alter function maintenance.retention_batch(uuid, timestamptz, integer) set search_path = pg_catalog, pg_temp;
    alter function maintenance.log_retention(uuid, text, bigint, jsonb, timestamptz, text, text)
      set search_path = pg_catalog, pg_temp;
  end if;
end
$$;
