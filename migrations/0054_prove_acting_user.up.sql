-- Phase: 4
-- Why: a setting outlives its client on a pooled server connection and then names the wrong person, and SQL can't tell
--   SET from SET LOCAL. An identity counts only if audit.act_as set it in this transaction. The transaction's number alone
--   would prove nothing, as the next one is easily guessed and set beforehand; so it is sealed with a key of the owner's.
-- Lock: none that anyone waits for.

create table maintenance.identity_key (
  only_row boolean not null default true,
  key bytea not null default sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')),
  constraint identity_key_pkey primary key (only_row),
  constraint identity_key_only_row_check check (only_row)
);

insert into maintenance.identity_key default values;

comment on table maintenance.identity_key is
  'Key by which audit.act_as proves to the audit trail that it set an identity; one row, for the owner''s functions only. After a restore without data: insert into maintenance.identity_key default values.';
comment on column maintenance.identity_key.only_row is 'Always true, so that there is one row at most.';
comment on column maintenance.identity_key.key is 'Random; may be replaced at any time, which ends the proof in transactions that are open.';

create function audit.identity_seal(p_user_id text, p_session_id text, p_ip_address text, p_user_agent text) returns text
-- Not sql: the trigger asks for every row, and plpgsql keeps its plan.
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Hashed twice, so that a seal can't be prolonged into another one. With the time of the transaction's start, which a
  -- database restored elsewhere does not share though it may count its transactions alike.
  return (
    select encode(
      sha256(key || sha256(key || convert_to(
        jsonb_build_array(
          pg_current_xact_id()::text, extract(epoch from now()), p_user_id, p_session_id, p_ip_address, p_user_agent
        )::text,
        'UTF8'
      ))),
      'hex'
    )
    from maintenance.identity_key
  );
end
$$;

comment on function audit.identity_seal(text, text, text, text) is
  'What proves that an identity was set in the running transaction; null without a key.';
revoke execute on function audit.identity_seal(text, text, text, text) from public;

create function audit.act_as(
  p_user_id integer,
  p_session_id text default null,
  p_ip_address text default null,
  p_user_agent text default null
) returns void
language plpgsql
-- For the key, which its callers must not see.
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id text := coalesce(p_user_id::text, '');
  v_session_id text := coalesce(p_session_id, '');
  v_ip_address text := coalesce(p_ip_address, '');
  -- The client's own words, so never a reason to refuse a request.
  v_user_agent text := left(coalesce(p_user_agent, ''), 1024);
  v_seal text;
begin
  if p_user_id < 1 then
    raise exception 'p_user_id is %, which is no key of public.users.', p_user_id
      using errcode = 'invalid_parameter_value', hint = 'Keys begin at 1; null stands for nobody.';
  end if;
  if length(v_session_id) > 255 then
    raise exception 'p_session_id has % characters, more than the 255 that the trail keeps.', length(v_session_id)
      using errcode = 'invalid_parameter_value';
  end if;
  if v_ip_address <> ''
    and (length(v_ip_address) > 45 or v_ip_address like '%/%' or not pg_input_is_valid(v_ip_address, 'pg_catalog.inet'))
  then
    raise exception 'p_ip_address is "%", which is no IPv4 or IPv6 address.', left(v_ip_address, 45)
      using
        errcode = 'invalid_parameter_value',
        hint = 'Give one address without port, network or zone, or null if it is unknown.';
  end if;

  v_seal := audit.identity_seal(v_user_id, v_session_id, v_ip_address, v_user_agent);
  if v_seal is null then
    raise exception 'maintenance.identity_key is empty, so no identity can be proved to the audit trail.'
      using
        errcode = 'object_not_in_prerequisite_state',
        hint = 'As owner: insert into maintenance.identity_key default values.';
  end if;

  perform
    set_config('app.user_id', v_user_id, true),
    set_config('app.session_id', v_session_id, true),
    set_config('app.ip_address', v_ip_address, true),
    set_config('app.user_agent', v_user_agent, true),
    set_config('app.identity_seal', v_seal, true);
end
$$;

comment on function audit.act_as(integer, text, text, text) is
  'Says for whom the running transaction acts: key of the user (null for nobody), session, address and User-Agent of the client. The audit trail believes an identity only from here, and only to the transaction''s end.';
revoke execute on function audit.act_as(integer, text, text, text) from public;
grant execute on function audit.act_as(integer, text, text, text) to app_user;

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
  v_user_id text := coalesce(current_setting('app.user_id', true), '');
  v_session_id text := coalesce(current_setting('app.session_id', true), '');
  v_ip_address text := coalesce(current_setting('app.ip_address', true), '');
  v_user_agent text := coalesce(current_setting('app.user_agent', true), '');
  v_seal text := coalesce(current_setting('app.identity_seal', true), '');
  v_proven boolean;
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

  v_proven := v_seal <> ''
    and coalesce(v_seal = audit.identity_seal(v_user_id, v_session_id, v_ip_address, v_user_agent), false);

  insert into audit.audit_log (
    table_name, operation, user_id, session_id, row_id, old_values, new_values, changed_fields, ip_address, user_agent,
    application_name, transaction_id, security_context
  )
  values (
    v_table,
    tg_op::public.auditoperation,
    case when v_proven then nullif(v_user_id, '')::integer end,
    case when v_proven then nullif(v_session_id, '') end,
    v_row ->> 'id',
    audit.mask_secrets(v_old),
    audit.mask_secrets(v_new),
    v_changed,
    case when v_proven then nullif(v_ip_address, '') end,
    case when v_proven then nullif(v_user_agent, '') end,
    left(current_setting('application_name', true), 100),
    pg_current_xact_id()::text::bigint,
    jsonb_strip_nulls(jsonb_build_object(
      'db_role', session_user,
      'origin', 'trigger',
      'subject_user_id', case when v_table = 'users' then v_row -> 'id' else v_row -> 'user_id' end,
      'maintenance', v_maintenance,
      -- That somebody was named, but not who: it may well be the client before.
      'unproven_identity', case when not v_proven and v_user_id <> '' then true end
    ))
  );
  return null;
end
$$;

comment on function audit.record_change() is
  'Trigger: writes a change into audit.audit_log. Who comes from audit.act_as, called in the same transaction; settings made in any other way are not believed.';

comment on column audit.audit_log.user_id is 'User who made the change, as audit.act_as was told in the same transaction; null when nobody was named so. Without a foreign key, so that it outlives the user.';
comment on column audit.audit_log.session_id is 'Session in which it was made, from audit.act_as. Secret while the session lasts.';
comment on column audit.audit_log.ip_address is 'Address of the client, from audit.act_as; the connection''s own would be the pooler''s.';
comment on column audit.audit_log.user_agent is 'User-Agent header of the client, from audit.act_as.';
comment on column audit.audit_log.security_context is 'Who acted at the database, as an object: db_role; origin, which is trigger for an entry of audit.record_change; subject_user_id, the user the row belongs to; unproven_identity, when a setting named a user without audit.act_as.';
