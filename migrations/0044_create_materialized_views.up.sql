-- Phase: 4
-- Why: dashboards ask the same sums over the logs again and again; five materialized views answer them, refreshed
--   without blocking readers by one function, which writes down how fresh each is.
-- Lock: ACCESS SHARE on the tables read, for as long as the first fill takes.

-- The indexed views are new, so nobody waits for their indexes.
-- squawk-ignore-file require-concurrent-index-creation

-- Days are UTC days, so that a row never moves to another day with the reader's time zone.
create materialized view public.auth_security_summary as
select
  day,
  sum(attempts)::bigint as login_attempts,
  sum(failures)::bigint as failed_logins,
  sum(with_second_factor)::bigint as logins_with_second_factor,
  sum(second_factor_events)::bigint as second_factor_events,
  sum(second_factor_failures)::bigint as second_factor_failures
from (
  select
    (attempted_at at time zone 'UTC')::date as day,
    count(*) as attempts,
    count(*) filter (where not was_successful) as failures,
    count(*) filter (where was_successful and used_2fa) as with_second_factor,
    0 as second_factor_events,
    0 as second_factor_failures
  from public.device_login_attempts
  group by 1
  union all
  select
    (created_at at time zone 'UTC')::date,
    0,
    0,
    0,
    count(*),
    count(*) filter (where not success)
  from public.two_factor_audit_log
  group by 1
) as event
group by day;

create unique index auth_security_summary_day_key on public.auth_security_summary (day);

comment on materialized view public.auth_security_summary is 'Logins and second factors per day (UTC). Written by maintenance.refresh_views.';
comment on column public.auth_security_summary.day is 'Day, UTC.';
comment on column public.auth_security_summary.login_attempts is 'Login attempts.';
comment on column public.auth_security_summary.failed_logins is 'Attempts that failed.';
comment on column public.auth_security_summary.logins_with_second_factor is 'Successful logins with a second factor.';
comment on column public.auth_security_summary.second_factor_events is 'Second-factor events of any kind.';
comment on column public.auth_security_summary.second_factor_failures is 'Second-factor events that failed.';

create materialized view public.security_metrics_summary as
select
  (recorded_at at time zone 'UTC')::date as day,
  metric_name,
  metric_type,
  coalesce(service_name, '') as service_name,
  count(*) as samples,
  min(metric_value) as minimum,
  avg(metric_value) as average,
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
comment on column public.security_metrics_summary.average is 'Mean value.';
comment on column public.security_metrics_summary.maximum is 'Highest value.';
comment on column public.security_metrics_summary.violations is 'Values out of bounds.';

create materialized view public.user_dashboard_summary as
select
  account.id as user_id,
  account.status,
  login.last_login_at,
  coalesce(session.active_sessions, 0) as active_sessions,
  coalesce(task.open_tasks, 0) as open_tasks,
  coalesce(task.completed_tasks, 0) as completed_tasks,
  coalesce(document.documents, 0) as documents,
  coalesce(chat.messages, 0) as messages,
  chat.last_message_at
from public.users as account
left join (
  select user_id, max(attempted_at) as last_login_at
  from public.device_login_attempts
  where was_successful
  group by user_id
) as login on login.user_id = account.id
left join (
  select user_id, count(*) as active_sessions
  from public.authentication_sessions
  where is_active
  group by user_id
) as session on session.user_id = account.id
left join (
  select
    user_id,
    count(*) filter (where status not in ('COMPLETED', 'CANCELLED')) as open_tasks,
    count(*) filter (where status = 'COMPLETED') as completed_tasks
  from public.tasks
  group by user_id
) as task on task.user_id = account.id
left join (
  select user_id, count(*) as documents
  from public.documents
  group by user_id
) as document on document.user_id = account.id
left join (
  select user_id, count(*) as messages, max(created_at) as last_message_at
  from public.chat_messages
  group by user_id
) as chat on chat.user_id = account.id;

create unique index user_dashboard_summary_user_id_key on public.user_dashboard_summary (user_id);

comment on materialized view public.user_dashboard_summary is 'Activity per user. Written by maintenance.refresh_views.';
comment on column public.user_dashboard_summary.user_id is 'The user.';
comment on column public.user_dashboard_summary.status is 'Approval state of the account.';
comment on column public.user_dashboard_summary.last_login_at is 'Last successful login that the log still holds; null for none.';
comment on column public.user_dashboard_summary.active_sessions is 'Sessions that are open.';
comment on column public.user_dashboard_summary.open_tasks is 'Tasks neither completed nor cancelled.';
comment on column public.user_dashboard_summary.completed_tasks is 'Tasks completed.';
comment on column public.user_dashboard_summary.documents is 'Uploaded files.';
comment on column public.user_dashboard_summary.messages is 'Chat messages.';
comment on column public.user_dashboard_summary.last_message_at is 'Last chat message; null for none.';

create materialized view public.session_health_summary as
select
  (created_at at time zone 'UTC')::date as day,
  count(*) as sessions,
  count(*) filter (where is_active) as active_sessions,
  count(*) filter (where ended_at is not null) as ended_sessions,
  count(distinct user_id) as users,
  avg(extension_count) as average_extensions,
  avg(extract(epoch from coalesce(ended_at, last_activity_at) - created_at)) as average_duration_seconds
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
comment on column public.session_health_summary.average_duration_seconds is 'Mean duration in seconds, up to the end or the last activity.';

create materialized view public.connection_health_summary as
select
  (recorded_at at time zone 'UTC')::date as day,
  health_status,
  count(*) as samples,
  sum(total_requests)::bigint as requests,
  sum(failed_requests)::bigint as failed_requests,
  max(consecutive_failures) as longest_failure_run,
  -- The application stores milliseconds as text; what is no number is left out.
  avg(case when average_response_time ~ '^[0-9]+(\.[0-9]+)?$' then average_response_time::numeric end)
    as average_response_ms
from public.connection_health_metrics
group by 1, 2;

create unique index connection_health_summary_day_status_key on public.connection_health_summary (day, health_status);

comment on materialized view public.connection_health_summary is 'Connection health per day (UTC) and state. Written by maintenance.refresh_views.';
comment on column public.connection_health_summary.day is 'Day, UTC.';
comment on column public.connection_health_summary.health_status is 'healthy, degraded, unhealthy or unknown.';
comment on column public.connection_health_summary.samples is 'Measurements.';
comment on column public.connection_health_summary.requests is 'Requests counted.';
comment on column public.connection_health_summary.failed_requests is 'Requests that failed.';
comment on column public.connection_health_summary.longest_failure_run is 'Most failures in a row.';
comment on column public.connection_health_summary.average_response_ms is 'Mean response time in milliseconds.';

create table maintenance.view_refreshes (
  view_name text not null,
  refreshed_at timestamptz not null,
  duration_ms double precision not null,
  constraint view_refreshes_pkey primary key (view_name)
);

comment on table maintenance.view_refreshes is 'When each materialized view was last refreshed. Written by maintenance.refresh_views.';
comment on column maintenance.view_refreshes.view_name is 'Materialized view, in schema public.';
comment on column maintenance.view_refreshes.refreshed_at is 'State of the data: the start of the refresh.';
comment on column maintenance.view_refreshes.duration_ms is 'Duration in milliseconds.';

create view maintenance.view_freshness as
select
  matview.matviewname::text as view_name,
  refresh.refreshed_at,
  now() - refresh.refreshed_at as age,
  refresh.duration_ms
from pg_catalog.pg_matviews as matview
left join maintenance.view_refreshes as refresh on refresh.view_name = matview.matviewname
where matview.schemaname = 'public';

comment on view maintenance.view_freshness is 'Age of every materialized view; null before its first refresh.';
grant select on maintenance.view_freshness to app_user, app_readonly, app_monitor;

create function maintenance.refresh_views() returns table (view_name text, duration_ms double precision, problem text)
language plpgsql
set search_path = ''
-- Only whoever locks a table or a view as a whole is in the way; then that view keeps its age.
set lock_timeout = '500ms'
as $$
declare
  v_started timestamptz;
begin
  -- One at a time; a second run waits, and refreshes what has changed since.
  perform set_config('lock_timeout', '0', true);
  perform pg_advisory_xact_lock(hashtext('ai-workflow-database maintenance.refresh_views'));
  perform set_config('lock_timeout', '500ms', true);

  for view_name in
    select matview.matviewname from pg_catalog.pg_matviews as matview where matview.schemaname = 'public' order by 1
  loop
    for v_try in 1..3 loop
      v_started := clock_timestamp();
      duration_ms := null;
      problem := null;
      begin
        -- Readers go on with the old rows meanwhile; this is what each view's unique index is for.
        execute format('refresh materialized view concurrently public.%I', view_name);
        duration_ms := extract(epoch from clock_timestamp() - v_started) * 1000;

        insert into maintenance.view_refreshes as refresh (view_name, refreshed_at, duration_ms)
        values (refresh_views.view_name, v_started, refresh_views.duration_ms)
        on conflict on constraint view_refreshes_pkey
        do update set refreshed_at = excluded.refreshed_at, duration_ms = excluded.duration_ms;
        exit;
      exception
        when lock_not_available or deadlock_detected then
          duration_ms := null;
          problem := format('%s (%s)', sqlerrm, sqlstate);
        when others then
          duration_ms := null;
          problem := format('%s (%s)', sqlerrm, sqlstate);
          exit;
      end;
      if v_try < 3 then
        perform pg_sleep(0.2 * v_try);
      end if;
    end loop;
    return next;
  end loop;
end
$$;

comment on function maintenance.refresh_views() is
  'Refreshes every materialized view of schema public without blocking its readers. Returns the duration of each, or the problem; a view that is locked is tried three times.';
revoke execute on function maintenance.refresh_views() from public;
