-- Phase: 2
-- Why: a row per session and interval; partitioned by month like the logs.
-- Lock: SHARE ROW EXCLUSIVE on public.authentication_sessions and public.users from the foreign keys to the end of the
--   run: writes there wait, reads do not.

create table public.connection_health_metrics (
  id uuid not null default gen_random_uuid(),
  session_id uuid,
  user_id integer,
  recorded_at timestamptz not null default now(),
  total_requests integer not null default 0,
  successful_requests integer not null default 0,
  failed_requests integer not null default 0,
  average_response_time varchar(10),
  consecutive_failures integer not null default 0,
  health_status varchar(20) not null default 'unknown',
  queue_size integer not null default 0,
  processing_time varchar(10),
  metrics_details json,
  constraint connection_health_metrics_pkey primary key (id, recorded_at),
  constraint connection_health_metrics_session_id_fkey foreign key (session_id) references public.authentication_sessions (id)
    on delete set null,
  constraint connection_health_metrics_user_id_fkey foreign key (user_id) references public.users (id)
    on delete set null
) partition by range (recorded_at);

create table partitions.connection_health_metrics_default partition of public.connection_health_metrics default;

create index ix_connection_health_metrics_user_id on public.connection_health_metrics (user_id);
create index connection_health_metrics_session_id_idx on public.connection_health_metrics (session_id);

comment on table public.connection_health_metrics is
  'Request and latency counters per session; partitioned by month of recorded_at. Written by the connection monitor.';
comment on column public.connection_health_metrics.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.connection_health_metrics.session_id is 'The session row''s key, not its text identifier; null when the session is gone.';
comment on column public.connection_health_metrics.user_id is 'The user whose connection was measured; null when unknown or erased.';
comment on column public.connection_health_metrics.recorded_at is 'When it was measured; also decides the partition.';
comment on column public.connection_health_metrics.total_requests is 'Requests counted.';
comment on column public.connection_health_metrics.successful_requests is 'Requests that succeeded.';
comment on column public.connection_health_metrics.failed_requests is 'Requests that failed.';
comment on column public.connection_health_metrics.average_response_time is 'Mean response time in milliseconds, as text of up to ten characters (the application''s own type).';
comment on column public.connection_health_metrics.consecutive_failures is 'Failures in a row up to now.';
comment on column public.connection_health_metrics.health_status is 'healthy, degraded, unhealthy or unknown.';
comment on column public.connection_health_metrics.queue_size is 'Requests waiting.';
comment on column public.connection_health_metrics.processing_time is 'Processing time in milliseconds, as text of up to ten characters (the application''s own type).';
comment on column public.connection_health_metrics.metrics_details is 'Further figures, as JSON.';
