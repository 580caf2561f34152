-- Phase: 2
-- Why: login sessions, and the notices and tokens attached to them.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create table public.authentication_sessions (
  id uuid not null default gen_random_uuid(),
  session_id varchar(255) not null,
  user_id integer not null,
  device_fingerprint varchar(512),
  ip_address varchar(45),
  user_agent text,
  created_at timestamptz not null default now(),
  last_activity_at timestamptz not null default now(),
  expires_at timestamptz,
  auth_state varchar(50) not null default 'authenticated',
  is_active boolean not null default true,
  extension_count integer not null default 0,
  last_extended_at timestamptz,
  login_method varchar(50),
  security_level varchar(50) not null default 'standard',
  ended_at timestamptz,
  end_reason varchar(100),
  session_metadata json,
  constraint authentication_sessions_pkey primary key (id),
  constraint authentication_sessions_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create unique index ix_authentication_sessions_session_id on public.authentication_sessions (session_id);
create index ix_authentication_sessions_user_id on public.authentication_sessions (user_id);

-- Secret: session_id. The read-only role gets the other columns by name, so a column added later is hidden from it
-- until somebody decides otherwise.
revoke select on public.authentication_sessions from app_readonly;
grant select (
  id, user_id, device_fingerprint, ip_address, user_agent, created_at, last_activity_at, expires_at, auth_state,
  is_active, extension_count, last_extended_at, login_method, security_level, ended_at, end_reason, session_metadata
) on public.authentication_sessions to app_readonly;

comment on table public.authentication_sessions is
  'Login sessions. Written by the session service.';
comment on column public.authentication_sessions.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.authentication_sessions.session_id is 'Identifier the client presents; as good as a password while the session lasts. Secret.';
comment on column public.authentication_sessions.user_id is 'The user the row belongs to.';
comment on column public.authentication_sessions.device_fingerprint is 'Hash over properties of the browser or device, made by the client.';
comment on column public.authentication_sessions.ip_address is 'Address of the client, IPv4 or IPv6 as text.';
comment on column public.authentication_sessions.user_agent is 'User-Agent header of the client.';
comment on column public.authentication_sessions.created_at is 'When the row was made; set by the server.';
comment on column public.authentication_sessions.last_activity_at is 'Time of the last request in the session; written by the session service.';
comment on column public.authentication_sessions.expires_at is 'When the session ends unless it is extended; null for no end.';
comment on column public.authentication_sessions.auth_state is 'authenticated, refreshing, extending or expired.';
comment on column public.authentication_sessions.is_active is 'False once the session ended.';
comment on column public.authentication_sessions.extension_count is 'How often it was extended.';
comment on column public.authentication_sessions.last_extended_at is 'When the session was last extended.';
comment on column public.authentication_sessions.login_method is 'password, 2fa and others.';
comment on column public.authentication_sessions.security_level is 'Level the session was opened with, such as standard.';
comment on column public.authentication_sessions.ended_at is 'When it ended; null while open.';
comment on column public.authentication_sessions.end_reason is 'Why it ended: logout, expiry, forced and others.';
comment on column public.authentication_sessions.session_metadata is 'Facts about the session, as JSON.';

create table public.session_warnings (
  id uuid not null default gen_random_uuid(),
  session_id uuid not null,
  user_id integer not null,
  warning_type varchar(50) not null,
  severity varchar(20) not null default 'info',
  message text not null,
  action_required boolean not null default false,
  suggested_action varchar(100),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  acknowledged_at timestamptz,
  resolved_at timestamptz,
  warning_details json,
  constraint session_warnings_pkey primary key (id),
  constraint session_warnings_session_id_fkey foreign key (session_id) references public.authentication_sessions (id)
    on delete cascade,
  constraint session_warnings_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_session_warnings_user_id on public.session_warnings (user_id);
create index session_warnings_session_id_idx on public.session_warnings (session_id);

comment on table public.session_warnings is
  'Notices attached to a session. Written by the session service.';
comment on column public.session_warnings.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.session_warnings.session_id is 'The session row''s key, not its text identifier.';
comment on column public.session_warnings.user_id is 'The user the row belongs to.';
comment on column public.session_warnings.warning_type is 'expiry_warning, activity_warning or security_warning.';
comment on column public.session_warnings.severity is 'info, warning or critical.';
comment on column public.session_warnings.message is 'Text shown to the user.';
comment on column public.session_warnings.action_required is 'Whether the user has to act.';
comment on column public.session_warnings.suggested_action is 'What the user may do.';
comment on column public.session_warnings.created_at is 'When the row was made; set by the server.';
comment on column public.session_warnings.expires_at is 'When the row stops being valid.';
comment on column public.session_warnings.acknowledged_at is 'When the user saw it.';
comment on column public.session_warnings.resolved_at is 'When it was resolved; null while open.';
comment on column public.session_warnings.warning_details is 'Further facts, as JSON.';

create table public.secure_token_storage (
  id uuid not null default gen_random_uuid(),
  token_id varchar(255) not null,
  user_id integer not null,
  token_type varchar(50) not null,
  encrypted_value text not null,
  session_id varchar(255),
  device_fingerprint varchar(512),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  last_accessed_at timestamptz,
  access_count integer not null default 0,
  is_active boolean not null default true,
  revoked_at timestamptz,
  revocation_reason varchar(255),
  token_metadata json,
  constraint secure_token_storage_pkey primary key (id),
  constraint secure_token_storage_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_secure_token_storage_session_id on public.secure_token_storage (session_id);
create unique index ix_secure_token_storage_token_id on public.secure_token_storage (token_id);
create index ix_secure_token_storage_user_id on public.secure_token_storage (user_id);

-- Secret: token_id, encrypted_value and session_id. The read-only role gets the other columns by name, so a column
-- added later is hidden from it until somebody decides otherwise.
revoke select on public.secure_token_storage from app_readonly;
grant select (
  id, user_id, token_type, device_fingerprint, created_at, expires_at, last_accessed_at, access_count, is_active,
  revoked_at, revocation_reason, token_metadata
) on public.secure_token_storage to app_readonly;

comment on table public.secure_token_storage is
  'Encrypted tokens and their life cycle. Written by the token service.';
comment on column public.secure_token_storage.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.secure_token_storage.token_id is 'Identifier of the token, unique; not the token itself, but enough to look it up. Secret.';
comment on column public.secure_token_storage.user_id is 'The user the row belongs to.';
comment on column public.secure_token_storage.token_type is 'access_token, refresh_token and others.';
comment on column public.secure_token_storage.encrypted_value is 'Ciphertext. Secret.';
comment on column public.secure_token_storage.session_id is 'Text identifier of the session the token was made in. Secret while the session lasts.';
comment on column public.secure_token_storage.device_fingerprint is 'Hash over properties of the browser or device, made by the client.';
comment on column public.secure_token_storage.created_at is 'When the row was made; set by the server.';
comment on column public.secure_token_storage.expires_at is 'When the row stops being valid.';
comment on column public.secure_token_storage.last_accessed_at is 'When it was last read.';
comment on column public.secure_token_storage.access_count is 'How often it was read.';
comment on column public.secure_token_storage.is_active is 'True while the row is in force; set to false instead of deleting it.';
comment on column public.secure_token_storage.revoked_at is 'When it was revoked; null while valid.';
comment on column public.secure_token_storage.revocation_reason is 'Why it was revoked.';
comment on column public.secure_token_storage.token_metadata is 'Facts about the token, as JSON.';

create table public.auth_queue_operations (
  id uuid not null default gen_random_uuid(),
  operation_id varchar(255) not null,
  user_id integer,
  session_id varchar(255),
  operation_type varchar(50) not null,
  priority integer not null default 1,
  status varchar(20) not null default 'pending',
  retry_count integer not null default 0,
  max_retries integer not null default 3,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  success boolean not null default false,
  error_message text,
  processing_time_ms integer,
  operation_payload json,
  operation_result json,
  constraint auth_queue_operations_pkey primary key (id),
  constraint auth_queue_operations_user_id_fkey foreign key (user_id) references public.users (id)
    on delete set null
);

create unique index ix_auth_queue_operations_operation_id on public.auth_queue_operations (operation_id);
create index ix_auth_queue_operations_user_id on public.auth_queue_operations (user_id);

-- Secret: session_id, operation_payload and operation_result. The read-only role gets the other columns by name, so
-- a column added later is hidden from it until somebody decides otherwise.
revoke select on public.auth_queue_operations from app_readonly;
grant select (
  id, operation_id, user_id, operation_type, priority, status, retry_count, max_retries, created_at, started_at,
  completed_at, success, error_message, processing_time_ms
) on public.auth_queue_operations to app_readonly;

comment on table public.auth_queue_operations is
  'Queued authentication work. Written by the login service and the queue worker.';
comment on column public.auth_queue_operations.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.auth_queue_operations.operation_id is 'Identifier the application gives to the work, unique.';
comment on column public.auth_queue_operations.user_id is 'The user the work is for; null when unknown or erased.';
comment on column public.auth_queue_operations.session_id is 'Text identifier of the session the work belongs to. Secret while the session lasts.';
comment on column public.auth_queue_operations.operation_type is 'token_validation, token_refresh and others.';
comment on column public.auth_queue_operations.priority is 'Order of work; the application defines the scale.';
comment on column public.auth_queue_operations.status is 'pending, in_progress, completed, failed or cancelled; moved on by the queue worker.';
comment on column public.auth_queue_operations.retry_count is 'Retries so far.';
comment on column public.auth_queue_operations.max_retries is 'Retries allowed.';
comment on column public.auth_queue_operations.created_at is 'When the row was made; set by the server.';
comment on column public.auth_queue_operations.started_at is 'When it was started; null while waiting.';
comment on column public.auth_queue_operations.completed_at is 'When it was finished; null while open.';
comment on column public.auth_queue_operations.success is 'Whether it succeeded.';
comment on column public.auth_queue_operations.error_message is 'What went wrong; null when nothing did.';
comment on column public.auth_queue_operations.processing_time_ms is 'Duration in milliseconds.';
comment on column public.auth_queue_operations.operation_payload is 'Input of the work, as JSON; may hold token identifiers.';
comment on column public.auth_queue_operations.operation_result is 'Result of the work, as JSON.';
