-- Phase: 3
-- Why: a row per request for ever; partitioned by month like the other logs.
-- Lock: SHARE ROW EXCLUSIVE on public.chat_mode_sessions from the foreign keys to the end of the run: writes there
--   wait, reads do not.

create table public.router_decision_log (
  id uuid not null default gen_random_uuid(),
  session_id varchar not null,
  user_request text not null,
  routing_decision jsonb not null,
  tools_invoked jsonb not null default '[]',
  complexity_score double precision not null default 0.0,
  confidence_score double precision not null default 0.0,
  processing_time_ms integer,
  tokens_used integer,
  model_used varchar(100),
  success boolean not null default true,
  error_details jsonb,
  blackboard_event_id uuid,
  created_at timestamptz not null default now(),
  constraint router_decision_log_pkey primary key (id, created_at),
  constraint router_decision_log_session_id_fkey foreign key (session_id) references public.chat_mode_sessions (session_id)
    on delete cascade
) partition by range (created_at);

create table partitions.router_decision_log_default partition of public.router_decision_log default;

create index idx_router_decision_performance on public.router_decision_log (processing_time_ms, complexity_score);
create index idx_router_decision_routing_gin on public.router_decision_log using gin (routing_decision);
create index idx_router_decision_success on public.router_decision_log (success, created_at);
create index idx_router_decision_tools_gin on public.router_decision_log using gin (tools_invoked);
create index ix_router_decision_log_created_at on public.router_decision_log (created_at);
create index ix_router_decision_log_session_id on public.router_decision_log (session_id);

-- A log is written once; what is too old goes with its partition.
revoke update, delete, truncate on public.router_decision_log from app_user;

comment on table public.router_decision_log is
  'Which route a request took; partitioned by month of created_at, append-only for the application. Written by the router.';
comment on column public.router_decision_log.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.router_decision_log.session_id is 'The session, by its text identifier.';
comment on column public.router_decision_log.user_request is 'What the user asked.';
comment on column public.router_decision_log.routing_decision is 'Route taken and why, as an object.';
comment on column public.router_decision_log.tools_invoked is 'Tools called, as a JSON list.';
comment on column public.router_decision_log.complexity_score is 'Complexity as rated by the router.';
comment on column public.router_decision_log.confidence_score is 'Confidence of the router, 0 to 1.';
comment on column public.router_decision_log.processing_time_ms is 'Duration in milliseconds.';
comment on column public.router_decision_log.tokens_used is 'Tokens spent.';
comment on column public.router_decision_log.model_used is 'Language model that was used.';
comment on column public.router_decision_log.success is 'Whether it succeeded.';
comment on column public.router_decision_log.error_details is 'What went wrong, as JSON; null when nothing did.';
comment on column public.router_decision_log.blackboard_event_id is 'Reserved for a link to a table of a model that is switched off, so without a foreign key.';
comment on column public.router_decision_log.created_at is 'When the row was made; set by the server; also decides the partition.';
