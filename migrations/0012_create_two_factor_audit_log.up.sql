-- Phase: 2
-- Why: a log that grows without bound and that nothing refers to, so it is partitioned by month and its past
--   dropped by partition. The primary key has to include the month's column; the models' key, id, is a random UUID
--   and stays unique in practice.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.twofactorauditaction as enum (
  'setup_initiated', 'setup_completed', 'setup_failed', 'authentication_success', 'authentication_failed',
  'method_disabled', 'backup_codes_generated', 'backup_code_used', 'admin_override', 'grace_period_extended'
);

create table public.two_factor_audit_log (
  id uuid not null default gen_random_uuid(),
  user_id integer,
  action public.twofactorauditaction not null,
  method_type varchar(50),
  session_id varchar(255),
  device_fingerprint varchar(512),
  ip_address varchar(45),
  user_agent text,
  success boolean not null,
  failure_reason text,
  additional_data jsonb,
  performed_by_admin integer,
  admin_reason text,
  risk_score double precision,
  risk_factors jsonb,
  created_at timestamptz not null default now(),
  constraint two_factor_audit_log_pkey primary key (id, created_at),
  constraint two_factor_audit_log_performed_by_admin_fkey foreign key (performed_by_admin) references public.users (id)
    on delete set null,
  constraint two_factor_audit_log_user_id_fkey foreign key (user_id) references public.users (id)
    on delete set null
) partition by range (created_at);

create table partitions.two_factor_audit_log_default partition of public.two_factor_audit_log default;

create index ix_two_factor_audit_log_user_id on public.two_factor_audit_log (user_id);
create index two_factor_audit_log_performed_by_admin_idx on public.two_factor_audit_log (performed_by_admin);

-- A log is written once; what is too old goes with its partition.
revoke update, delete, truncate on public.two_factor_audit_log from app_user;
-- Secret: session_id. The read-only role gets the other columns by name, so a column added later is hidden from it
-- until somebody decides otherwise.
revoke select on public.two_factor_audit_log from app_readonly;
grant select (
  id, user_id, action, method_type, device_fingerprint, ip_address, user_agent, success, failure_reason,
  additional_data, performed_by_admin, admin_reason, risk_score, risk_factors, created_at
) on public.two_factor_audit_log to app_readonly;

comment on table public.two_factor_audit_log is
  'Trail of second-factor events; partitioned by month of created_at, append-only for the application. Written by the two-factor service.';
comment on column public.two_factor_audit_log.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.two_factor_audit_log.user_id is 'The user concerned; null when unknown or erased.';
comment on column public.two_factor_audit_log.action is 'What happened.';
comment on column public.two_factor_audit_log.method_type is 'Second factor concerned.';
comment on column public.two_factor_audit_log.session_id is 'Text identifier of the session the event happened in. Secret while the session lasts.';
comment on column public.two_factor_audit_log.device_fingerprint is 'Hash over properties of the browser or device, made by the client.';
comment on column public.two_factor_audit_log.ip_address is 'Address of the client, IPv4 or IPv6 as text.';
comment on column public.two_factor_audit_log.user_agent is 'User-Agent header of the client.';
comment on column public.two_factor_audit_log.success is 'Whether it succeeded.';
comment on column public.two_factor_audit_log.failure_reason is 'Why it failed; null on success.';
comment on column public.two_factor_audit_log.additional_data is 'Further facts about the event, as JSON.';
comment on column public.two_factor_audit_log.performed_by_admin is 'Administrator who acted for the user; null when the user acted or the account is gone.';
comment on column public.two_factor_audit_log.admin_reason is 'Why the administrator acted.';
comment on column public.two_factor_audit_log.risk_score is 'Risk as rated by the application, higher is worse.';
comment on column public.two_factor_audit_log.risk_factors is 'What raised the risk, as JSON.';
comment on column public.two_factor_audit_log.created_at is 'When it happened; set by the server, also decides the partition.';
