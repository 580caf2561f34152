-- Phase: 4
-- Why: takes the proof of identity back: the trail believes the settings as they are again.
-- Data loss: the key, which proves nothing beyond its transaction anyway.
-- Lock: none that anyone waits for.

create or replace function audit.record_change() returns trigger
language plpgsql
-- The application may add entries of its own but need not be able to write these, and must not be able to avoid them.
security definer
set search_path = pg_catalog, pg_temp
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

comment on function audit.record_change() is
  'Trigger: writes a change into audit.audit_log. Who comes from the settings app.user_id, app.session_id, app.ip_address and app.user_agent, which the application sets with set_config(name, value, true) in its transaction.';

comment on column audit.audit_log.user_id is 'User who made the change, from the session setting app.user_id; without a foreign key, so that it outlives the user.';
comment on column audit.audit_log.session_id is 'Session in which it was made, from the session setting app.session_id. Secret while the session lasts.';
comment on column audit.audit_log.ip_address is 'Address of the client, from the session setting app.ip_address; the connection''s own would be the pooler''s.';
comment on column audit.audit_log.user_agent is 'User-Agent header of the client, from the session setting app.user_agent.';
comment on column audit.audit_log.security_context is 'Who acted at the database, as an object: db_role, and subject_user_id, the user the row belongs to.';

drop function audit.act_as(integer, text, text, text);
drop function audit.identity_seal(text, text, text, text);
drop table maintenance.identity_key;
