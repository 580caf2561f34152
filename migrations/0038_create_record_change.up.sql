-- Phase: 4
-- Why: one trigger function for every audited table, so that who, what, old and new value are written the same way
--   everywhere and no secret is ever copied into the trail.
-- Lock: none that anyone waits for: what is made here is new.

-- By name and not by table: the trigger sees one row at a time, and the same names return in exports and reports.
-- test/integration/schema-rights.test.ts holds this list against the columns that the read-only role can't read.
create function audit.is_secret(p_column text) returns boolean
language sql
immutable
parallel safe
return p_column in (
  'access_token', 'challenge_data', 'code_hash', 'configuration_data', 'created_by_session_id', 'credential_id',
  'download_token', 'encrypted_value', 'git_integrations', 'hashed_password', 'operation_payload', 'operation_result',
  'provider_config', 'public_key', 'refresh_token', 'refresh_token_hash', 'session_id', 'session_token', 'tfa_secret',
  'token', 'token_hash', 'token_id', 'totp_backup_codes', 'totp_secret', 'value', 'web_search_api_key'
)
-- A net under the list, for columns that come later.
or p_column ~ '(password|secret|api_key|private_key|_token$|_hash$)';

comment on function audit.is_secret(text) is 'Whether a column of this name holds a secret, in whatever table.';

create function audit.mask_secrets(p_row jsonb) returns jsonb
language sql
immutable
parallel safe
return p_row || coalesce(
  (
    select jsonb_object_agg(column_name, '***'::text)
    from jsonb_each(p_row) as field (column_name, value)
    where value <> 'null'::jsonb and audit.is_secret(column_name)
  ),
  '{}'::jsonb
);

comment on function audit.mask_secrets(jsonb) is 'The row with *** for every secret that is not null.';

create function audit.record_change() returns trigger
language plpgsql
-- The application may add entries of its own but need not be able to write these, and must not be able to avoid them.
security definer
set search_path = ''
as $$
declare
  v_old jsonb;
  v_new jsonb;
  v_row jsonb;
  v_changed varchar[];
  v_user text := current_setting('app.user_id', true);
  v_table text := tg_table_name;
  -- Set by the functions of schema maintenance; believed of the owner only, or the application could hide a change.
  v_maintenance text := case
    when current_setting('aiwdb.maintenance', true) <> ''
      and pg_has_role(
        case current_setting('role') when 'none' then session_user else current_setting('role')::name end, current_user, 'member'
      )
      then current_setting('aiwdb.maintenance', true)
  end;
begin
  -- A row moved into its month's partition is the same row.
  if v_maintenance = 'move' then
    return null;
  end if;
  if tg_table_schema = 'partitions' then
    select class.relname into v_table from pg_catalog.pg_class as class where class.oid = pg_partition_root(tg_relid);
  end if;

  if tg_op in ('UPDATE', 'DELETE') then
    v_old := to_jsonb(old);
  end if;
  if tg_op in ('INSERT', 'UPDATE') then
    v_new := to_jsonb(new);
  end if;
  v_row := coalesce(v_new, v_old);

  if tg_op = 'UPDATE' then
    -- The trigger's arguments, null when there are none, name columns that change at every touch and say nothing.
    select array_agg(field.key order by field.key)
    into v_changed
    from jsonb_each(v_new) as field
    where field.value is distinct from v_old -> field.key
      and field.key <> 'updated_at'
      and field.key <> all (coalesce(tg_argv, '{}'));

    if v_changed is null then
      return null;
    end if;

    select jsonb_object_agg(key, v_old -> key), jsonb_object_agg(key, v_new -> key)
    into v_old, v_new
    from unnest(v_changed) as key;
  end if;

  -- What retention removes must not live on in the trail for another two years.
  if v_maintenance = 'retention' then
    v_old := null;
    v_new := null;
  end if;

  insert into audit.audit_log (
    table_name, operation, user_id, session_id, row_id, old_values, new_values, changed_fields, ip_address, user_agent,
    application_name, transaction_id, security_context
  )
  values (
    v_table,
    tg_op::public.auditoperation,
    -- A setting that is no number must not stop the change that is to be recorded.
    case when v_user ~ '^[0-9]{1,9}$' then v_user::integer end,
    nullif(current_setting('app.session_id', true), ''),
    v_row ->> 'id',
    audit.mask_secrets(v_old),
    audit.mask_secrets(v_new),
    v_changed,
    left(nullif(current_setting('app.ip_address', true), ''), 45),
    nullif(current_setting('app.user_agent', true), ''),
    left(current_setting('application_name', true), 100),
    pg_current_xact_id()::text::bigint,
    jsonb_strip_nulls(jsonb_build_object(
      'db_role', session_user,
      'subject_user_id', case when v_table = 'users' then v_row -> 'id' else v_row -> 'user_id' end,
      'maintenance', v_maintenance
    ))
  );
  return null;
end
$$;

-- A trigger needs no right to its function, so nobody has to be able to call it.
revoke execute on function audit.record_change() from public;

comment on function audit.record_change() is
  'Trigger: writes a change into audit.audit_log. Who comes from the settings app.user_id, app.session_id, app.ip_address and app.user_agent, which the application sets with set_config(name, value, true) in its transaction.';
