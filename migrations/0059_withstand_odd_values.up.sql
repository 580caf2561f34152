-- Phase: 4
-- Why: some values that the application may write stopped others. JSON that jsonb can't hold could not be written into an
--   audited table, as the trail failed, and stopped the export of a user's data; a metric of 1.7e308 and a session that began at infinity stopped the refresh of a view
--   for as long as the row was there.
-- Lock: ACCESS EXCLUSIVE on two materialized views to the end of the run: their readers wait for the first fill.

-- The indexed views are new, so nobody waits for their indexes.
-- squawk-ignore-file require-concurrent-index-creation

create function audit.json_value(p_value json) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_value::jsonb;
exception
  when untranslatable_character or invalid_text_representation or numeric_value_out_of_range or statement_too_complex then
    return jsonb_build_object('not_jsonb', encode(sha256(convert_to(p_value::text, 'UTF8')), 'hex'));
end
$$;

comment on function audit.json_value(json) is
  'The value as jsonb; its SHA-256, so that a change shows, where jsonb can''t hold it: \u0000, half a surrogate, a number out of range, nested too deeply.';
revoke execute on function audit.json_value(json) from public;

create function audit.row_values(p_relation regclass, p_row anyelement) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns text;
  v_values jsonb;
begin
  select string_agg(
    format(case when atttypid = 'json'::regtype then 'audit.json_value(($1).%1$I) as %1$I' else '($1).%1$I' end, attname),
    ', ' order by attnum
  )
  into v_columns
  from pg_catalog.pg_attribute
  where attrelid = p_relation and attnum > 0 and not attisdropped;
  execute format('select to_jsonb(value) from (select %s) as value', v_columns) into v_values using p_row;
  return v_values;
end
$$;

comment on function audit.row_values(regclass, anyelement) is
  'A row as to_jsonb gives it, where a column of type json has what jsonb can''t hold.';
revoke execute on function audit.row_values(regclass, anyelement) from public;

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

  begin
    if tg_op in ('UPDATE', 'DELETE') then
      v_old := to_jsonb(old);
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
      v_new := to_jsonb(new);
    end if;
  exception
    -- A column of type json has what jsonb can't hold.
    when untranslatable_character or invalid_text_representation or numeric_value_out_of_range or statement_too_complex then
      if tg_op in ('UPDATE', 'DELETE') then
        v_old := audit.row_values(tg_relid, old);
      end if;
      if tg_op in ('INSERT', 'UPDATE') then
        v_new := audit.row_values(tg_relid, new);
      end if;
  end;
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

create or replace function privacy.export_user(p_user_id integer) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry record;
  v_rows jsonb;
  v_clear text;
  v_about jsonb := '{}';
  v_made jsonb := '{}';
  v_count integer := 0;
begin
  if not exists (select from public.users where id = p_user_id) then
    raise exception 'There is no user %, so there is nothing to export.', p_user_id
      using errcode = 'no_data_found', hint = 'The key is public.users.id.';
  end if;

  -- Entries of one table together, so that a row that several of them find is there once.
  for v_entry in
    select table_name, relation, string_agg(format('(%s)', filter), ' or ' order by step) as filter
    from privacy.user_data
    group by table_name, relation
    order by min(step)
  loop
    if v_entry.relation = 'subject' then
      -- A conversation's session_id is its key and no secret, which the read-only role may see.
      select '|| jsonb_build_object(''session_id'', entry.session_id)'
      into v_clear
      from pg_catalog.pg_attribute
      where attrelid = v_entry.table_name::regclass
        and attname = 'session_id'
        and has_column_privilege('app_readonly', attrelid, attnum, 'select');

      begin
        execute format(
          'select coalesce(jsonb_agg(audit.mask_secrets(to_jsonb(entry)) %s), ''[]'') from %s as entry where %s',
          v_clear, v_entry.table_name, v_entry.filter
        )
        into v_rows
        using p_user_id;
      exception
        -- A column of type json has what jsonb can't hold.
        when untranslatable_character or invalid_text_representation or numeric_value_out_of_range or statement_too_complex then
          execute format(
            'select coalesce(jsonb_agg(audit.mask_secrets(audit.row_values(%L, entry)) %s), ''[]'') from %s as entry where %s',
            v_entry.table_name, v_clear, v_entry.table_name, v_entry.filter
          )
          into v_rows
          using p_user_id;
      end;
      v_about := v_about || jsonb_build_object(v_entry.table_name, v_rows);
      v_count := v_count + jsonb_array_length(v_rows);
    else
      -- The rest of such a row is about somebody else.
      execute format('select jsonb_agg(entry.id) from %s as entry where %s', v_entry.table_name, v_entry.filter)
      into v_rows
      using p_user_id;
      if v_rows is not null then
        v_made := v_made || jsonb_build_object(v_entry.table_name, v_rows);
      end if;
    end if;
  end loop;

  insert into audit.data_access_log (
    user_id, service_name, access_type, table_name, row_count, sensitive_data_accessed
  )
  values (p_user_id, 'privacy.export_user', 'EXPORT', 'users', v_count, true);

  return jsonb_build_object(
    'user_id', p_user_id, 'exported_at', now(), 'row_count', v_count, 'about_the_user', v_about, 'made_by_the_user', v_made
  );
end
$$;

drop materialized view public.security_metrics_summary;
create materialized view public.security_metrics_summary as
select
  (recorded_at at time zone 'UTC')::date as day,
  metric_name,
  metric_type,
  coalesce(service_name, '') as service_name,
  count(*) as samples,
  min(metric_value) as minimum,
  -- A sum of squares beyond the type's range would stop the refresh; infinity and NaN don't.
  avg(metric_value) filter (where abs(metric_value) < 1e150 or abs(metric_value) >= 'infinity') as average,
  max(metric_value) as maximum,
  count(*) filter (where threshold_violated) as violations
from audit.security_metrics
group by 1, 2, 3, 4;

create unique index security_metrics_summary_day_metric_key
on public.security_metrics_summary (day, metric_name, metric_type, service_name);

comment on materialized view public.security_metrics_summary is 'Security metrics per day (UTC), metric and service. Written by maintenance.refresh_views.';
comment on column public.security_metrics_summary.day is 'Day, UTC.';
comment on column public.security_metrics_summary.metric_name is 'Name of the metric.';
comment on column public.security_metrics_summary.metric_type is 'Kind of metric.';
comment on column public.security_metrics_summary.service_name is 'Service; empty for none.';
comment on column public.security_metrics_summary.samples is 'Values recorded.';
comment on column public.security_metrics_summary.minimum is 'Lowest value.';
comment on column public.security_metrics_summary.average is 'Mean value, without values of 1e150 and more.';
comment on column public.security_metrics_summary.maximum is 'Highest value.';
comment on column public.security_metrics_summary.violations is 'Values out of bounds.';

drop materialized view public.session_health_summary;
create materialized view public.session_health_summary as
select
  (created_at at time zone 'UTC')::date as day,
  count(*) as sessions,
  count(*) filter (where is_active) as active_sessions,
  count(*) filter (where ended_at is not null) as ended_sessions,
  count(distinct user_id) as users,
  avg(extension_count) as average_extensions,
  -- The application sends these dates; infinity, or a difference beyond the type's range, would stop the refresh.
  avg(
    case
      when created_at between '1970-01-01Z' and '3000-01-01Z'
        and coalesce(ended_at, last_activity_at) between '1970-01-01Z' and '3000-01-01Z'
        then extract(epoch from coalesce(ended_at, last_activity_at) - created_at)
    end
  ) as average_duration_seconds
from public.authentication_sessions
group by 1;

create unique index session_health_summary_day_key on public.session_health_summary (day);

comment on materialized view public.session_health_summary is 'Login sessions per day (UTC) on which they began. Written by maintenance.refresh_views.';
comment on column public.session_health_summary.day is 'Day, UTC.';
comment on column public.session_health_summary.sessions is 'Sessions begun.';
comment on column public.session_health_summary.active_sessions is 'Of these, still open.';
comment on column public.session_health_summary.ended_sessions is 'Of these, ended.';
comment on column public.session_health_summary.users is 'Different users.';
comment on column public.session_health_summary.average_extensions is 'Mean number of extensions.';
comment on column public.session_health_summary.average_duration_seconds is 'Mean duration in seconds, up to the end or the last activity; without sessions dated before 1970 or after 3000.';
