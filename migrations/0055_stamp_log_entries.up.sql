-- Phase: 4
-- Why: what app_user adds to a log by itself could bear any date, role and transaction and looked like the server's own
--   entry. Role, origin and transaction are set by the server now; a date that is not now is refused, as a trigger can't
--   move a row into another partition. Now is the clock, as a transaction can be kept open for days to date its entries back.
--   The owner is believed, or nothing could be restored.
-- Lock: ACCESS EXCLUSIVE on each log, to the end of the run: reads and writes wait. No table is rewritten or scanned.

create function audit.refuse_date() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table regclass := coalesce(pg_partition_root(tg_relid), tg_relid);
begin
  if pg_has_role(current_user, (select relowner from pg_catalog.pg_class where oid = tg_relid), 'usage') then
    return new;
  end if;
  raise exception '% of % is %, which is not now, so the entry is refused.',
    tg_argv[0], v_table, coalesce(to_jsonb(new) ->> tg_argv[0], 'null')
    using
      errcode = 'check_violation',
      hint = format('Leave %s out: the server dates its logs. A clock that is 5 minutes wrong at most is put up with.', tg_argv[0]);
end
$$;

comment on function audit.refuse_date() is
  'Trigger: refuses an entry whose date, the column named in the argument, is not now, unless the owner writes it.';
revoke execute on function audit.refuse_date() from public;

create function audit.stamp_entry() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.recorded_by is null
    or not pg_has_role(current_user, (select relowner from pg_catalog.pg_class where oid = tg_relid), 'usage')
  then
    new.recorded_by := session_user;
  end if;
  return new;
end
$$;

comment on function audit.stamp_entry() is
  'Trigger: writes into recorded_by which role adds the entry, whatever it says itself; only the owner''s word is taken, for a restore.';
revoke execute on function audit.stamp_entry() from public;

create function audit.keep_stamp() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_has_role(current_user, (select relowner from pg_catalog.pg_class where oid = tg_relid), 'usage') then
    return new;
  end if;
  raise exception 'recorded_by and % of % are the server''s and stay as they are.',
    tg_argv[0], coalesce(pg_partition_root(tg_relid), tg_relid)::regclass
    using errcode = 'check_violation', hint = 'Leave both out of the update.';
end
$$;

comment on function audit.keep_stamp() is
  'Trigger: refuses a change of recorded_by and of the date, the column named in the argument, by anybody but the owner.';
revoke execute on function audit.keep_stamp() from public;

create function audit.stamp_trail() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_context jsonb := coalesce(nullif(new.security_context, 'null'), '{}');
begin
  if pg_has_role(current_user, (select relowner from pg_catalog.pg_class where oid = tg_relid), 'usage') then
    -- audit.record_change, and whoever restores a dump, bring their own.
    if not v_context ? 'db_role' then
      new.security_context := v_context || jsonb_build_object('db_role', session_user, 'origin', 'maintenance');
    end if;
    return new;
  end if;

  if jsonb_typeof(v_context) <> 'object' then
    v_context := jsonb_build_object('context', v_context);
  end if;
  new.transaction_id := pg_current_xact_id()::text::bigint;
  new.security_context := v_context - array['maintenance', 'unproven_identity']
    || jsonb_build_object('db_role', session_user, 'origin', 'application');
  return new;
end
$$;

comment on function audit.stamp_trail() is
  'Trigger: writes into an entry of the audit trail which role adds it, in which transaction, and that it is the application''s and not the trigger''s, whatever it says itself; only the owner''s word is taken, for a restore.';
revoke execute on function audit.stamp_trail() from public;

alter table audit.audit_log alter column created_at set default clock_timestamp();
create trigger audit_log_refuse_date
  before insert on audit.audit_log
  for each row
  when ((new.created_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('created_at');
create trigger audit_log_stamp
  before insert on audit.audit_log
  for each row execute function audit.stamp_trail();

alter table audit.data_access_log alter column created_at set default clock_timestamp();
alter table audit.data_access_log add column recorded_by name;
comment on column audit.data_access_log.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
grant select (recorded_by) on audit.data_access_log to app_readonly;
create trigger data_access_log_refuse_date
  before insert on audit.data_access_log
  for each row
  when ((new.created_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('created_at');
create trigger data_access_log_stamp
  before insert on audit.data_access_log
  for each row execute function audit.stamp_entry();

alter table audit.data_retention_logs alter column executed_at set default clock_timestamp();
alter table audit.data_retention_logs add column recorded_by name;
comment on column audit.data_retention_logs.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
create trigger data_retention_logs_refuse_date
  before insert on audit.data_retention_logs
  for each row
  when ((new.executed_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('executed_at');
create trigger data_retention_logs_stamp
  before insert on audit.data_retention_logs
  for each row execute function audit.stamp_entry();

alter table audit.enterprise_audit_events alter column processing_timestamp set default clock_timestamp();
alter table audit.enterprise_audit_events add column recorded_by name;
comment on column audit.enterprise_audit_events.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
grant select (recorded_by) on audit.enterprise_audit_events to app_readonly;
create trigger enterprise_audit_events_refuse_date
  before insert on audit.enterprise_audit_events
  for each row
  when ((new.processing_timestamp between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('processing_timestamp');
create trigger enterprise_audit_events_stamp
  before insert on audit.enterprise_audit_events
  for each row execute function audit.stamp_entry();
create trigger enterprise_audit_events_keep_stamp
  before update on audit.enterprise_audit_events
  for each row
  when (new.recorded_by is distinct from old.recorded_by or new.processing_timestamp is distinct from old.processing_timestamp)
  execute function audit.keep_stamp('processing_timestamp');

alter table audit.security_metrics alter column recorded_at set default clock_timestamp();
alter table audit.security_metrics add column recorded_by name;
comment on column audit.security_metrics.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
create trigger security_metrics_refuse_date
  before insert on audit.security_metrics
  for each row
  when ((new.recorded_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('recorded_at');
create trigger security_metrics_stamp
  before insert on audit.security_metrics
  for each row execute function audit.stamp_entry();

alter table audit.security_violations alter column created_at set default clock_timestamp();
alter table audit.security_violations add column recorded_by name;
comment on column audit.security_violations.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
grant select (recorded_by) on audit.security_violations to app_readonly;
create trigger security_violations_refuse_date
  before insert on audit.security_violations
  for each row
  when ((new.created_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('created_at');
create trigger security_violations_stamp
  before insert on audit.security_violations
  for each row execute function audit.stamp_entry();
create trigger security_violations_keep_stamp
  before update on audit.security_violations
  for each row
  when (new.recorded_by is distinct from old.recorded_by or new.created_at is distinct from old.created_at)
  execute function audit.keep_stamp('created_at');

-- Without a value for the rows there are: nobody knows when they were added.
alter table audit.threat_intelligence_events add column recorded_at timestamptz;
alter table audit.threat_intelligence_events alter column recorded_at set default clock_timestamp();
comment on column audit.threat_intelligence_events.recorded_at is 'When the entry was added, set by the server; null in entries from before it did so.';
alter table audit.threat_intelligence_events add column recorded_by name;
comment on column audit.threat_intelligence_events.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
create trigger threat_intelligence_events_refuse_date
  before insert on audit.threat_intelligence_events
  for each row
  when ((new.recorded_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('recorded_at');
create trigger threat_intelligence_events_stamp
  before insert on audit.threat_intelligence_events
  for each row execute function audit.stamp_entry();
create trigger threat_intelligence_events_keep_stamp
  before update on audit.threat_intelligence_events
  for each row
  when (new.recorded_by is distinct from old.recorded_by or new.recorded_at is distinct from old.recorded_at)
  execute function audit.keep_stamp('recorded_at');

alter table public.device_login_attempts alter column attempted_at set default clock_timestamp();
alter table public.device_login_attempts add column recorded_by name;
comment on column public.device_login_attempts.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
create trigger device_login_attempts_refuse_date
  before insert on public.device_login_attempts
  for each row
  when ((new.attempted_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('attempted_at');
create trigger device_login_attempts_stamp
  before insert on public.device_login_attempts
  for each row execute function audit.stamp_entry();

alter table public.router_decision_log alter column created_at set default clock_timestamp();
alter table public.router_decision_log add column recorded_by name;
comment on column public.router_decision_log.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
create trigger router_decision_log_refuse_date
  before insert on public.router_decision_log
  for each row
  when ((new.created_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('created_at');
create trigger router_decision_log_stamp
  before insert on public.router_decision_log
  for each row execute function audit.stamp_entry();

alter table public.two_factor_audit_log alter column created_at set default clock_timestamp();
alter table public.two_factor_audit_log add column recorded_by name;
comment on column public.two_factor_audit_log.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
grant select (recorded_by) on public.two_factor_audit_log to app_readonly;
create trigger two_factor_audit_log_refuse_date
  before insert on public.two_factor_audit_log
  for each row
  when ((new.created_at between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes') is not true)
  execute function audit.refuse_date('created_at');
create trigger two_factor_audit_log_stamp
  before insert on public.two_factor_audit_log
  for each row execute function audit.stamp_entry();

comment on column audit.audit_log.transaction_id is 'Number of the database transaction, set by the server, so that changes made together can be found.';
comment on column audit.audit_log.security_context is 'Who acted at the database, as an object: db_role; origin, which is trigger for an entry of audit.record_change, application for one that app_user added by itself, and maintenance for one of the owner''s; subject_user_id, the user the row belongs to; unproven_identity, when a setting named a user without audit.act_as.';
