-- Phase: 3
-- Why: sessions of the unified memory store, and what is remembered in them.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create table public.chat_mode_sessions (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  session_id varchar not null,
  chat_mode varchar(50) not null,
  configuration jsonb not null default '{}',
  unified_memory_id uuid,
  parent_session_id varchar,
  is_active boolean not null default true,
  session_metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  ended_at timestamptz,
  constraint chat_mode_sessions_pkey primary key (id),
  constraint chat_mode_sessions_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index idx_chat_mode_sessions_active on public.chat_mode_sessions (is_active, created_at);
create index idx_chat_mode_sessions_config_gin on public.chat_mode_sessions using gin (configuration);
create index idx_chat_mode_sessions_metadata_gin on public.chat_mode_sessions using gin (session_metadata);
create index idx_chat_mode_sessions_user_mode on public.chat_mode_sessions (user_id, chat_mode);
create index ix_chat_mode_sessions_chat_mode on public.chat_mode_sessions (chat_mode);
create unique index ix_chat_mode_sessions_session_id on public.chat_mode_sessions (session_id);
create index ix_chat_mode_sessions_user_id on public.chat_mode_sessions (user_id);

create trigger chat_mode_sessions_set_updated_at
  before update on public.chat_mode_sessions
  for each row execute function public.set_updated_at();

comment on table public.chat_mode_sessions is
  'Sessions of the unified memory store. Written by the chat service.';
comment on column public.chat_mode_sessions.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.chat_mode_sessions.user_id is 'The user the row belongs to.';
comment on column public.chat_mode_sessions.session_id is 'Text identifier of the session, unique; other tables refer to it.';
comment on column public.chat_mode_sessions.chat_mode is 'Mode of the conversation.';
comment on column public.chat_mode_sessions.configuration is 'Settings of the session, as an object.';
comment on column public.chat_mode_sessions.unified_memory_id is 'Reserved for a link to a memory store that is switched off.';
comment on column public.chat_mode_sessions.parent_session_id is 'Session this one continues, as text.';
comment on column public.chat_mode_sessions.is_active is 'False once the session ended.';
comment on column public.chat_mode_sessions.session_metadata is 'Facts about the session, as JSON.';
comment on column public.chat_mode_sessions.created_at is 'When the row was made; set by the server.';
comment on column public.chat_mode_sessions.updated_at is 'When the row was last changed; kept by a trigger.';
comment on column public.chat_mode_sessions.ended_at is 'When it ended; null while open.';

create table public.simple_chat_context (
  id uuid not null default gen_random_uuid(),
  session_id varchar not null,
  context_key varchar not null,
  context_value jsonb not null,
  context_type varchar(50) not null default 'conversation',
  access_level varchar(20) not null default 'private',
  priority integer not null default 1,
  version integer not null default 1,
  expires_at timestamptz,
  is_persistent boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint simple_chat_context_pkey primary key (id),
  constraint _session_context_key_uc unique (session_id, context_key),
  constraint simple_chat_context_session_id_fkey foreign key (session_id) references public.chat_mode_sessions (session_id)
    on delete cascade
);

create index idx_simple_chat_context_expiry on public.simple_chat_context (expires_at);
create index idx_simple_chat_context_priority on public.simple_chat_context (priority, version);
create index idx_simple_chat_context_type on public.simple_chat_context (context_type, access_level);
create index idx_simple_chat_context_value_gin on public.simple_chat_context using gin (context_value);
create index ix_simple_chat_context_context_type on public.simple_chat_context (context_type);
create index ix_simple_chat_context_session_id on public.simple_chat_context (session_id);

create trigger simple_chat_context_set_updated_at
  before update on public.simple_chat_context
  for each row execute function public.set_updated_at();

comment on table public.simple_chat_context is
  'Context remembered per session, by key. Written by the chat service.';
comment on column public.simple_chat_context.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.simple_chat_context.session_id is 'The session, by its text identifier.';
comment on column public.simple_chat_context.context_key is 'Name of the entry, unique per session.';
comment on column public.simple_chat_context.context_value is 'Value, as JSON.';
comment on column public.simple_chat_context.context_type is 'Kind of entry, such as conversation.';
comment on column public.simple_chat_context.access_level is 'private, shared or public.';
comment on column public.simple_chat_context.priority is 'Order among entries; higher wins.';
comment on column public.simple_chat_context.version is 'Number of the row''s revision, counted up by the application.';
comment on column public.simple_chat_context.expires_at is 'When the entry may be forgotten; null for never.';
comment on column public.simple_chat_context.is_persistent is 'Whether it outlives the session.';
comment on column public.simple_chat_context.created_at is 'When the row was made; set by the server.';
comment on column public.simple_chat_context.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.cross_service_memory_sync (
  id uuid not null default gen_random_uuid(),
  source_session_id varchar not null,
  target_session_id varchar not null,
  sync_type varchar(50) not null,
  sync_status varchar(20) not null default 'pending',
  data_transferred jsonb not null,
  conflict_resolution jsonb,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  constraint cross_service_memory_sync_pkey primary key (id),
  constraint cross_service_memory_sync_source_session_id_fkey foreign key (source_session_id) references public.chat_mode_sessions (session_id)
    on delete cascade,
  constraint cross_service_memory_sync_target_session_id_fkey foreign key (target_session_id) references public.chat_mode_sessions (session_id)
    on delete cascade
);

create index idx_cross_service_sync_data_gin on public.cross_service_memory_sync using gin (data_transferred);
create index idx_cross_service_sync_status on public.cross_service_memory_sync (sync_status, created_at);
create index idx_cross_service_sync_type on public.cross_service_memory_sync (sync_type);
create index ix_cross_service_memory_sync_source_session_id on public.cross_service_memory_sync (source_session_id);
create index ix_cross_service_memory_sync_target_session_id on public.cross_service_memory_sync (target_session_id);

comment on table public.cross_service_memory_sync is
  'Context handed from one session to another. Written by the memory service.';
comment on column public.cross_service_memory_sync.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.cross_service_memory_sync.source_session_id is 'Session the data comes from, by its text identifier.';
comment on column public.cross_service_memory_sync.target_session_id is 'Session the data goes to, by its text identifier.';
comment on column public.cross_service_memory_sync.sync_type is 'context_transfer, knowledge_share or state_sync.';
comment on column public.cross_service_memory_sync.sync_status is 'pending, in_progress, completed or failed.';
comment on column public.cross_service_memory_sync.data_transferred is 'What was handed over, as JSON.';
comment on column public.cross_service_memory_sync.conflict_resolution is 'How conflicts were settled, as JSON; null for none.';
comment on column public.cross_service_memory_sync.created_at is 'When the row was made; set by the server.';
comment on column public.cross_service_memory_sync.completed_at is 'When it was finished; null while open.';
