-- Phase: 4
-- Why: maintenance carries out approved policies alone, and each fails alone. Of the rows that are there, those that are
--   the defaults as shipped are approved; any other may have been planted, and waits.
-- Lock: none that anyone waits for.

create function maintenance.plan_retention(
  p_policy_id uuid, p_started timestamptz, out policy public.data_retention_policies, out target regclass,
  out by_partition boolean, out cutoff timestamptz, out problem text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The approval's values, not the row's: those the application may change at any time.
  select approval.policy_id, approval.table_name, approval.retention_period_days, approval.policy_type, approval.conditions
  into policy.id, policy.table_name, policy.retention_period_days, policy.policy_type, policy.conditions
  from maintenance.retention_approvals as approval
  inner join maintenance.retention_status as status on status.policy_id = approval.policy_id and status.state = 'approved'
  where approval.policy_id = p_policy_id;
  if not found then
    problem := 'The policy is not what was approved any more, or is switched off.';
    return;
  end if;
  select string_agg(found.problem, ' ')
  into problem
  from maintenance.retention_problems(
    policy.table_name, policy.retention_period_days, policy.policy_type, policy.conditions, true
  ) as found;
  if problem is null then
    target := maintenance.resolve_table(policy.table_name);
    by_partition := maintenance.goes_by_partition(policy);
    cutoff := p_started - make_interval(days => policy.retention_period_days);
  end if;
exception
  when others then
    problem := format('%s (%s)', sqlerrm, sqlstate);
end
$$;

comment on function maintenance.plan_retention(uuid, timestamptz) is
  'What an approved policy asks for now: its values, the table, whether months go as a whole, and the limit; or why it can''t be carried out.';
revoke execute on function maintenance.plan_retention(uuid, timestamptz) from public;

create or replace function maintenance.retention_batch(p_policy_id uuid, p_cutoff timestamptz, p_batch_size integer)
returns table (affected integer, problem text)
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
  v_plan record;
  v_policy public.data_retention_policies;
  v_leaf regclass;
  v_rows integer;
  v_where text;
  v_set text;
begin
  -- The audit trail says which rows went and whose they were, but keeps no copy of what is to be forgotten.
  perform set_config('aiwdb.maintenance', 'retention', true);
  for v_try in 1..3 loop
    affected := 0;
    problem := null;
    begin
      select * into v_plan from maintenance.plan_retention(p_policy_id, p_cutoff);
      v_policy := v_plan.policy;
      problem := v_plan.problem;
      exit when problem is not null;

      select format('%I < $1', v_policy.conditions ->> 'column') || coalesce(string_agg(
        case when value is null then format(' and %I is null', key) else format(' and %I = %L', key, value) end, ''
      ), '')
      into v_where
      from jsonb_each_text(nullif(v_policy.conditions -> 'match', 'null'));

      if v_policy.policy_type = 'ANONYMIZE' then
        -- By value, since text has many forms of one: else rows that are done would be found again and again.
        select
          string_agg(format('%I = %L', key, value), ', '),
          v_where || ' and (' || string_agg(
            format(case when data_type = 'json' then '%I::text is distinct from %L' else '%I is distinct from %L' end, key, value), ' or '
          ) || ')'
        into v_set, v_where
        from jsonb_each_text(v_policy.conditions -> 'set')
        inner join maintenance.retention_columns on table_name = v_policy.table_name and column_name = key;
      end if;

      -- Partition by partition, since ctid is unique in one only. Months that are dropped whole need no look: row by row
      -- goes only what never got a month.
      for v_leaf in
        select class.oid
        from pg_catalog.pg_class as class
        where class.oid = v_plan.target and class.relkind = 'r'
          or class.oid in (select inhrelid from pg_catalog.pg_inherits where inhparent = v_plan.target)
          and (not v_plan.by_partition or pg_get_expr(class.relpartbound, class.oid) = 'DEFAULT')
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
  'Deletes or anonymizes at most p_batch_size rows that an approved policy covers and that are older than p_cutoff. Returns their number, and the problem if there was one.';

create or replace function maintenance.log_retention(
  p_policy_id uuid, p_action text, p_rows bigint, p_criteria jsonb, p_started timestamptz, p_status text, p_problem text
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
  v_id uuid := gen_random_uuid();
begin
  if p_status in ('FAILURE', 'PARTIAL') then
    raise warning 'Retention: policy %: %: %', p_policy_id, p_status, regexp_replace(p_problem, '[[:cntrl:]]+', ' ', 'g');
  end if;
  insert into audit.data_retention_logs (
    id, policy_id, table_name, retention_action, records_affected, criteria_applied, scheduled_at,
    execution_duration_seconds, execution_status, error_message, compliance_reason, legal_basis
  )
  select
    v_id, approval.policy_id, approval.table_name, p_action, least(p_rows, 2147483647), p_criteria, p_started,
    ceil(extract(epoch from clock_timestamp() - p_started)), p_status, p_problem,
    left(coalesce(approval.conditions ->> 'reason', 'The retention period is over.'), 100),
    left(approval.conditions ->> 'legal_basis', 100)
  from maintenance.retention_approvals as approval
  where approval.policy_id = p_policy_id;
  -- The application may add rows of its own; by this the caller knows those of this run.
  perform set_config(
    'aiwdb.retention_logged', concat_ws(',', nullif(current_setting('aiwdb.retention_logged', true), ''), v_id::text), false
  );
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
  v_due pg_catalog.record;
  v_plan pg_catalog.record;
  v_started timestamp with time zone;
  v_rows bigint;
  v_problem pg_catalog.text;
  v_batch pg_catalog.record;
  v_gone pg_catalog.record;
  v_dropped pg_catalog.text[];
  v_purged bigint;
begin
  if p_batch_size not between 1 and 100000 then
    raise exception 'p_batch_size is %, which is not between 1 and 100000 rows.', p_batch_size
      using errcode = 'invalid_parameter_value';
  end if;

  perform pg_catalog.set_config('aiwdb.retention_logged', '', false);
  -- Without its list there is nothing to go on with; but it must not wait for ever either.
  perform pg_catalog.set_config('lock_timeout', '2s', true);
  for v_due in
    select status.policy_id
    from maintenance.retention_status as status
    where status.state = 'approved'
    order by status.table_name, status.policy_id
  loop
    v_started := pg_catalog.clock_timestamp();
    select * into v_plan from maintenance.plan_retention(v_due.policy_id, v_started) as plan;

    v_dropped := null;
    v_purged := 0;
    v_problem := v_plan.problem;
    if v_problem is null and v_plan.by_partition then
      -- One month and one transaction each, so that readers of the log get in between.
      for v_try in 1..3 loop
        loop
          begin
            select gone.partition_name, gone.estimated_rows
            into v_gone
            from maintenance.drop_partitions(v_plan.target, v_plan.cutoff, 1) as gone;
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
          v_due.policy_id, 'PURGE', v_purged,
          pg_catalog.jsonb_build_object('before', v_plan.cutoff, 'partitions', pg_catalog.to_jsonb(coalesce(v_dropped, '{}'))),
          v_started,
          case when v_problem is null then 'SUCCESS' when v_dropped is null then 'FAILURE' else 'PARTIAL' end,
          v_problem
        );
        commit;
      end if;
    end if;

    v_rows := 0;
    v_problem := v_plan.problem;
    while v_problem is null loop
      select batch.affected, batch.problem
      into v_batch
      from maintenance.retention_batch(v_due.policy_id, v_plan.cutoff, p_batch_size) as batch;
      v_rows := v_rows + v_batch.affected;
      v_problem := v_batch.problem;
      commit;
      exit when v_batch.affected < p_batch_size;
    end loop;
    if v_rows > 0 or v_problem is not null then
      perform maintenance.log_retention(
        v_due.policy_id, coalesce((v_plan.policy).policy_type::pg_catalog.text, 'DELETE'), v_rows,
        pg_catalog.jsonb_build_object('before', v_plan.cutoff) || coalesce((v_plan.policy).conditions, '{}'),
        v_started,
        case
          when v_problem is null then 'SUCCESS'
          when (v_plan.policy).policy_type = 'ARCHIVE' then 'SKIPPED'
          when v_rows > 0 then 'PARTIAL'
          else 'FAILURE'
        end,
        v_problem
      );
    end if;
    begin
      perform pg_catalog.set_config('lock_timeout', '500ms', true);
      update public.data_retention_policies set last_run_at = v_started where id = v_due.policy_id;
    exception
      when others then
        raise warning 'Retention: policy % ran, but its last_run_at could not be written: %', v_due.policy_id, sqlerrm;
    end;
    commit;
  end loop;
end
$$;

comment on procedure maintenance.apply_retention(integer) is
  'Carries out every approved policy that is active: drops partitions past their time, deletes or anonymizes other rows p_batch_size at a time with a commit after each, and writes audit.data_retention_logs.';

do $$
declare
  v_waiting bigint;
begin
  insert into maintenance.retention_approvals (
    policy_id, table_name, retention_period_days, policy_type, conditions, approved_by
  )
  select
    policy.id, policy.table_name, policy.retention_period_days, policy.policy_type, policy.conditions,
    'the migration: a default as shipped'
  from public.data_retention_policies as policy
  where policy.is_active
    and (policy.table_name, policy.retention_period_days, policy.policy_type::text, policy.conditions) in (
      select
        seed.table_name,
        seed.days,
        seed.policy_type,
        jsonb_strip_nulls(jsonb_build_object(
          'column', seed.age_column, 'legal_basis', seed.legal_basis, 'reason', seed.reason, 'is_default', true
        )) || coalesce(seed.more, '{}')
      from (
        values
          ('audit_log', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(c)', 'Proof of changes for two annual audits', null::jsonb),
          ('security_violations', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks', null),
          ('data_access_log', 365, 'DELETE', 'created_at', 'GDPR Art. 6(1)(c)', 'Proof of access for one annual audit', null),
          ('security_metrics', 180, 'DELETE', 'recorded_at', 'GDPR Art. 6(1)(f)', 'Trends over half a year', null),
          ('two_factor_audit_log', 365, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Disputes about logins', null),
          ('device_login_attempts', 180, 'DELETE', 'attempted_at', 'GDPR Art. 6(1)(f)', 'Defence against guessed passwords', null),
          ('connection_health_metrics', 30, 'DELETE', 'recorded_at', 'GDPR Art. 6(1)(f)', 'Fault finding', null),
          ('router_decision_log', 180, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Quality of routing', null),
          ('two_factor_challenges', 7, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
          ('two_factor_verification_codes', 7, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
          ('secure_token_storage', 30, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
          ('secure_token_storage', 365, 'DELETE', 'last_accessed_at', 'GDPR Art. 5(1)(e)', 'Unused for a year',
            '{"match": {"expires_at": null}}'),
          ('secure_token_storage', 365, 'DELETE', 'created_at', 'GDPR Art. 5(1)(e)', 'Unused for a year',
            '{"match": {"expires_at": null, "last_accessed_at": null}}'),
          ('cross_service_auth', 90, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
          ('authentication_sessions', 180, 'DELETE', 'expires_at', 'GDPR Art. 6(1)(f)', 'Disputes about logins', null),
          ('authentication_sessions', 365, 'DELETE', 'last_activity_at', 'GDPR Art. 5(1)(e)', 'Unused for a year',
            '{"match": {"expires_at": null}}'),
          ('session_warnings', 90, 'DELETE', 'created_at', 'GDPR Art. 5(1)(e)', 'Useless once the session is over', null),
          ('auth_queue_operations', 30, 'DELETE', 'completed_at', 'GDPR Art. 5(1)(e)', 'Useless once done', null),
          ('auth_queue_operations', 90, 'DELETE', 'created_at', 'GDPR Art. 5(1)(e)', 'Never done, and nobody waits for it any more',
            '{"match": {"completed_at": null}}'),
          ('access_requests', 365, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Who was let in, for one annual audit', null),
          ('simple_chat_context', 1, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
          ('session_state', 90, 'DELETE', 'updated_at', 'GDPR Art. 5(1)(e)', 'Nobody resumes older conversations', null),
          ('registered_devices', 365, 'ANONYMIZE', 'last_seen_at', 'GDPR Art. 5(1)(c)', 'The device matters, its place does not',
            '{"set": {"last_ip_address": null, "location_info": null}}'),
          ('security_actions', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks',
            '{"match": {"status": "EXPIRED"}}'),
          ('security_actions', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks',
            '{"match": {"status": "REVOKED"}}'),
          ('security_actions', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks',
            '{"match": {"status": "FAILED"}}'),
          ('security_tier_upgrade_logs', 730, 'DELETE', 'started_at', 'GDPR Art. 6(1)(c)', 'Who got which rights, for two annual audits', null),
          ('threat_intelligence_events', 730, 'DELETE', 'detected_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks', null),
          ('enterprise_audit_events', 2555, 'DELETE', 'event_timestamp', 'GDPR Art. 6(1)(c)', 'Seven years, as SOX asks', null),
          ('data_retention_logs', 2555, 'DELETE', 'executed_at', 'GDPR Art. 5(2)', 'Accountability for as long as the events', null)
      ) as seed (table_name, days, policy_type, age_column, legal_basis, reason, more)
    );

  select count(*) into v_waiting from maintenance.retention_status where state in ('proposed', 'changed');
  if v_waiting > 0 then
    raise warning '% retention policies are not the defaults as shipped and wait for the owner''s approval: aiwdb retention list', v_waiting;
  end if;
end
$$;
