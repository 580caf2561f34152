-- Phase: 4
-- Why: app_user may write retention policies, and maintenance carries them out with the owner's rights. So a policy may only
--   name tables and columns that policies are for; a trigger refuses any other with all that is wrong with it.
-- Lock: SHARE ROW EXCLUSIVE on public.data_retention_policies from the trigger to the end of the run: writes there wait,
--   reads do not.

-- By list, so that a table that comes later is out until somebody decides. Not on it: accounts, second factors, rights,
-- settings, proofs, the marks of migrations, and what takes a log along when it is deleted.
create view maintenance.retention_tables as
select
  namespace.nspname::text as table_schema,
  class.relname::text as table_name,
  entry.is_log,
  entry.is_log and not has_table_privilege('app_user', class.oid, 'delete') as is_append_only
from (
  values
    ('public', 'access_requests', false),
    ('public', 'ai_analysis_history', false),
    ('public', 'auth_queue_operations', false),
    ('public', 'authentication_sessions', false),
    ('public', 'calendars', false),
    ('public', 'chat_history', false),
    ('public', 'chat_messages', false),
    ('public', 'chat_session_summaries', false),
    ('public', 'code_templates', false),
    ('public', 'connection_health_metrics', false),
    ('public', 'cross_service_auth', false),
    ('public', 'cross_service_memory_sync', false),
    ('public', 'document_chunks', false),
    ('public', 'documents', false),
    ('public', 'events', false),
    ('public', 'legacy_agent_metrics', false),
    ('public', 'legacy_gpu_resource_allocations', false),
    ('public', 'message_feedback', false),
    ('public', 'mission_interviews', false),
    ('public', 'multi_agent_conversations', false),
    ('public', 'projects', false),
    ('public', 'registered_devices', false),
    ('public', 'secure_token_storage', false),
    ('public', 'security_actions', false),
    ('public', 'semantic_insights', false),
    ('public', 'session_state', false),
    ('public', 'session_warnings', false),
    ('public', 'simple_chat_context', false),
    ('public', 'task_delegations', false),
    ('public', 'task_feedback', false),
    ('public', 'tasks', false),
    ('public', 'time_budgets', false),
    ('public', 'two_factor_challenges', false),
    ('public', 'two_factor_verification_codes', false),
    ('public', 'user_history_summaries', false),
    ('audit', 'audit_log', true),
    ('audit', 'data_access_log', true),
    ('audit', 'data_retention_logs', true),
    ('audit', 'enterprise_audit_events', true),
    ('audit', 'security_metrics', true),
    ('audit', 'security_violations', true),
    ('audit', 'threat_intelligence_events', true),
    ('public', 'device_login_attempts', true),
    ('public', 'router_decision_log', true),
    ('public', 'security_tier_upgrade_logs', true),
    ('public', 'two_factor_audit_log', true)
) as entry (table_schema, table_name, is_log)
inner join pg_catalog.pg_namespace as namespace on namespace.nspname = entry.table_schema
inner join pg_catalog.pg_class as class
  on class.relnamespace = namespace.oid and class.relname = entry.table_name and class.relkind in ('r', 'p');

comment on view maintenance.retention_tables is
  'Tables that retention policies are for. Of logs only the owner writes policies.';
comment on column maintenance.retention_tables.table_schema is 'Schema of the table.';
comment on column maintenance.retention_tables.table_name is 'Name of the table, as a policy gives it.';
comment on column maintenance.retention_tables.is_log is 'True for logs: only the owner writes their policies, and nothing is anonymized in them.';
comment on column maintenance.retention_tables.is_append_only is
  'True for logs that app_user may only add to: their rows go by age alone, never by what they say.';

create view maintenance.retention_columns as
select
  entry.table_schema,
  entry.table_name,
  attribute.attname::text as column_name,
  format_type(attribute.atttypid, attribute.atttypmod) as data_type,
  not attribute.attnotnull as may_be_null,
  attribute.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype) as decides_age,
  not entry.is_append_only
  and type.typcategory in ('B', 'D', 'E', 'I', 'N', 'S')
  and not secret.is_secret as may_match,
  not entry.is_log
  and attribute.atttypid in (
    'text'::regtype, 'varchar'::regtype, 'json'::regtype, 'jsonb'::regtype, 'inet'::regtype, 'text[]'::regtype,
    'varchar[]'::regtype
  )
  and not secret.is_secret
  -- What refers or decides, where no constraint says so.
  and attribute.attname !~ '(^|_)(id|status|state|role|roles|type|tier|level|permissions?|scopes?)$'
  and not exists (
    select
    from pg_catalog.pg_constraint as rule
    where rule.conrelid = attribute.attrelid and attribute.attnum = any (rule.conkey)
  )
  and not exists (
    select
    from pg_catalog.pg_index as key
    where key.indrelid = attribute.attrelid and key.indisunique and attribute.attnum = any (key.indkey)
  ) as may_anonymize
from maintenance.retention_tables as entry
inner join pg_catalog.pg_attribute as attribute
  on attribute.attrelid = format('%I.%I', entry.table_schema, entry.table_name)::regclass
  and attribute.attnum > 0
  and not attribute.attisdropped
inner join pg_catalog.pg_type as type on type.oid = attribute.atttypid
-- What app_readonly can't read, and a net under that. Not by audit.is_secret, which the application need not be able to call.
cross join lateral (
  select
    not has_column_privilege('app_readonly', attribute.attrelid, attribute.attnum, 'select')
    or attribute.attname ~ '(password|secret|api_key|private_key|_token$|_hash$)' as is_secret
) as secret;

comment on view maintenance.retention_columns is
  'Columns that retention policies may name, and for what. Text, JSON and addresses may be anonymized, unless they are secret, part of a key, or under a constraint: states, roles and references stay as they are.';
comment on column maintenance.retention_columns.table_schema is 'Schema of the table.';
comment on column maintenance.retention_columns.table_name is 'Name of the table.';
comment on column maintenance.retention_columns.column_name is 'Name of the column.';
comment on column maintenance.retention_columns.data_type is 'Its type.';
comment on column maintenance.retention_columns.may_be_null is 'Whether null can be written.';
comment on column maintenance.retention_columns.decides_age is 'Whether `column` may name it.';
comment on column maintenance.retention_columns.may_match is 'Whether `match` may name it.';
comment on column maintenance.retention_columns.may_anonymize is 'Whether `set` may name it.';

create function maintenance.retention_problems(
  p_table_name text, p_days integer, p_type public.retentionpolicytype, p_conditions jsonb, p_by_owner boolean
) returns table (problem text, is_refused boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table record;
  v_conditions jsonb := nullif(p_conditions, 'null');
  v_part text;
  v_field record;
  v_column record;
  v_age text;
  v_is_valid boolean;
begin
  -- What can do harm, or can never be carried out, is refused. What is only incomplete may be written down, waits, and can't
  -- be approved.
  is_refused := true;
  if p_days is null or p_days not between 1 and 36500 then
    problem := format('retention_period_days is %s, which is not between 1 and 36500 days.', coalesce(p_days::text, 'null'));
    return next;
  end if;

  select * into v_table from maintenance.retention_tables as entry where entry.table_name = p_table_name;
  if v_table.table_name is null then
    is_refused := exists (
      select
      from pg_class as class
      inner join pg_namespace as namespace on namespace.oid = class.relnamespace
      where class.relname = p_table_name
        and namespace.nspname in ('public', 'audit', 'partitions', 'maintenance', 'privacy', 'pgbouncer')
    );
    problem := case
      when is_refused then format('table_name: %s is nothing that policies are for.', p_table_name)
      else format('There is no table %s.', to_json(p_table_name))
    end;
    return next;
    is_refused := true;
  elsif v_table.is_log then
    if not p_by_owner then
      problem := format('table_name: %s is a log, whose policies only the owner writes.', p_table_name);
      return next;
    end if;
    if p_type = 'ANONYMIZE' then
      problem := format('policy_type: %s is a log, in which nothing is rewritten.', p_table_name);
      return next;
    end if;
  end if;

  if jsonb_typeof(v_conditions) <> 'object' then
    problem := format('conditions is of type %s, not an object.', jsonb_typeof(v_conditions));
    return next;
    return;
  elsif length(v_conditions::text) > 4000 then
    problem := 'conditions has more than 4000 characters.';
    return next;
    return;
  end if;

  for v_field in select * from jsonb_each(v_conditions) loop
    if v_field.key in ('column', 'legal_basis', 'reason') and jsonb_typeof(v_field.value) not in ('string', 'null') then
      problem := format('conditions.%s is of type %s, not a string.', v_field.key, jsonb_typeof(v_field.value));
      return next;
    elsif v_field.key in ('match', 'set') and jsonb_typeof(v_field.value) not in ('object', 'null') then
      problem := format('conditions.%s is of type %s, not an object.', v_field.key, jsonb_typeof(v_field.value));
      return next;
      v_conditions := v_conditions - v_field.key;
    elsif v_field.key not in ('column', 'legal_basis', 'reason', 'match', 'set', 'is_default') then
      is_refused := false;
      problem := format('conditions has a key %s, which nothing reads.', to_json(v_field.key));
      return next;
      is_refused := true;
    end if;
  end loop;

  v_age := v_conditions ->> 'column';
  if v_age is null then
    is_refused := false;
    problem := 'conditions has no key column, so the age of a row is unknown.';
    return next;
  elsif v_table.table_name is not null then
    select * into v_column
    from maintenance.retention_columns as entry
    where entry.table_name = p_table_name and entry.column_name = v_age;
    if v_column.column_name is null then
      is_refused := false;
      problem := format('column %s does not exist in %I.%I.', to_json(v_age), v_table.table_schema, p_table_name);
      return next;
    elsif not v_column.decides_age then
      is_refused := true;
      problem := format('conditions.column: %s is of type %s, which is no date.', v_age, v_column.data_type);
      return next;
    end if;
  end if;

  if p_type = 'ARCHIVE' then
    is_refused := false;
    problem := 'ARCHIVE has no archive to write to here; nothing was deleted.';
    return next;
  elsif p_type = 'ANONYMIZE' and coalesce(nullif(v_conditions -> 'set', 'null'), '{}') = '{}' then
    is_refused := false;
    problem := 'conditions has no key set, so there is nothing to anonymize.';
    return next;
  elsif p_type = 'DELETE' and coalesce(nullif(v_conditions -> 'set', 'null'), '{}') <> '{}' then
    is_refused := true;
    problem := 'conditions.set belongs to ANONYMIZE, not to DELETE.';
    return next;
  end if;

  foreach v_part in array array['match', 'set'] loop
    for v_field in
      select field.key, field.value, v_conditions -> v_part ->> field.key as text_value
      from jsonb_each(nullif(v_conditions -> v_part, 'null')) as field
    loop
      is_refused := true;
      -- An empty object or list is a value that set may write.
      if jsonb_typeof(v_field.value) in ('object', 'array') and (v_part = 'match' or v_field.value not in ('{}', '[]')) then
        problem := format('conditions.%s: the value of %s is of type %s.', v_part, to_json(v_field.key), jsonb_typeof(v_field.value));
        return next;
        continue;
      end if;
      continue when v_table.table_name is null;

      select * into v_column
      from maintenance.retention_columns as entry
      where entry.table_name = p_table_name and entry.column_name = v_field.key;
      -- Executed, since a planned call keeps the type that it was first given.
      execute 'select pg_input_is_valid($1, $2)' into v_is_valid using v_field.text_value, v_column.data_type;
      if v_column.column_name is null then
        is_refused := false;
        problem := format('column %s does not exist in %I.%I.', to_json(v_field.key), v_table.table_schema, p_table_name);
        return next;
      elsif v_part = 'match' and not v_column.may_match then
        problem := format('conditions.match: rows of %s are not chosen by %s.', p_table_name, v_field.key);
        return next;
      elsif v_part = 'set' and not v_column.may_anonymize then
        problem := format('conditions.set: %s.%s is no column to anonymize.', p_table_name, v_field.key);
        return next;
      -- What is written must say nothing, or a policy could put words into rows with the owner's rights.
      elsif v_part = 'set'
        and v_field.text_value not in ('', '{}', '[]', 'erased', 'anonymized', '0.0.0.0', '::')
      then
        problem := format('conditions.set: %s would say something; null, "", "erased", "anonymized", "{}", "[]", "0.0.0.0" and "::" don''t.', v_field.key);
        return next;
      elsif v_part = 'set' and v_field.text_value is null and not v_column.may_be_null then
        problem := format('conditions.set: %s can''t be null.', v_field.key);
        return next;
      elsif not v_is_valid then
        problem := format('conditions.%s: the value of %s is no %s.', v_part, v_field.key, v_column.data_type);
        return next;
      end if;
    end loop;
  end loop;
end
$$;

comment on function maintenance.retention_problems(text, integer, public.retentionpolicytype, jsonb, boolean) is
  'What is wrong with a retention policy. With is_refused the row is not taken; without, it is taken but can''t be approved.';
revoke execute on function maintenance.retention_problems(text, integer, public.retentionpolicytype, jsonb, boolean) from public;

create function maintenance.check_retention_policy() returns trigger
language plpgsql
-- With the rights of whoever writes the row, since that is the question.
set search_path = pg_catalog, pg_temp
as $$
declare
  v_by_owner boolean;
  v_problems text[];
begin
  -- Only what changes the meaning is looked at, so that a row from before can be switched off as it is.
  if tg_op = 'UPDATE'
    and (new.table_name, new.retention_period_days, new.policy_type, new.conditions)
      is not distinct from (old.table_name, old.retention_period_days, old.policy_type, old.conditions)
  then
    return new;
  end if;

  select pg_has_role(current_user, class.relowner, 'member') into v_by_owner from pg_class as class where class.oid = tg_relid;
  select array_agg(found.problem)
  into v_problems
  from maintenance.retention_problems(
    new.table_name, new.retention_period_days, new.policy_type, new.conditions, v_by_owner
  ) as found
  where found.is_refused;
  if v_problems is not null then
    raise exception e'The retention policy is not taken (% problems):\n- %',
      cardinality(v_problems), array_to_string(v_problems, e'\n- ')
      using
        errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name,
        hint = 'Views maintenance.retention_tables and maintenance.retention_columns say what a policy may name.';
  end if;
  return new;
end
$$;

comment on function maintenance.check_retention_policy() is
  'Trigger: refuses a retention policy that names what policies are not for, or that could never be carried out.';
revoke execute on function maintenance.check_retention_policy() from public;

-- The trigger runs with the writer's rights.
grant select on maintenance.retention_tables, maintenance.retention_columns to app_user, app_readonly;
grant execute on function maintenance.retention_problems(text, integer, public.retentionpolicytype, jsonb, boolean) to app_user;

create trigger data_retention_policies_check
  before insert or update on public.data_retention_policies
  for each row execute function maintenance.check_retention_policy();
