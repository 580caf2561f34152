-- Phase: 2
-- Why: counter-measures have to be there before the first login is open to the world.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.violationseverity as enum ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL');
create type public.securityactiontype as enum (
  'IP_BLOCK', 'USER_SUSPEND', 'RATE_LIMIT', 'ACCOUNT_LOCKOUT', 'SERVICE_ISOLATION', 'ALERT_ESCALATION',
  'THREAT_QUARANTINE'
);
create type public.securityactionstatus as enum ('ACTIVE', 'EXPIRED', 'REVOKED', 'FAILED');

create table public.security_actions (
  id uuid not null default gen_random_uuid(),
  action_type public.securityactiontype not null,
  target varchar(255) not null,
  reason text not null,
  evidence jsonb not null,
  severity public.violationseverity not null,
  status public.securityactionstatus not null default 'ACTIVE',
  created_at timestamptz not null default now(),
  expiration timestamptz,
  revoked_at timestamptz,
  auto_created boolean not null default true,
  created_by_user_id integer,
  created_by_session_id varchar(255),
  execution_details jsonb,
  success boolean,
  error_message text,
  constraint security_actions_pkey primary key (id),
  constraint security_actions_created_by_user_id_fkey foreign key (created_by_user_id) references public.users (id)
    on delete set null
);

create index ix_security_actions_action_type on public.security_actions (action_type);
create index ix_security_actions_created_at on public.security_actions (created_at);
create index ix_security_actions_created_by_user_id on public.security_actions (created_by_user_id);
create index ix_security_actions_expiration on public.security_actions (expiration);
create index ix_security_actions_severity on public.security_actions (severity);
create index ix_security_actions_status on public.security_actions (status);
create index ix_security_actions_target on public.security_actions (target);

-- Secret: created_by_session_id. The read-only role gets the other columns by name, so a column added later is
-- hidden from it until somebody decides otherwise.
revoke select on public.security_actions from app_readonly;
grant select (
  id, action_type, target, reason, evidence, severity, status, created_at, expiration, revoked_at, auto_created,
  created_by_user_id, execution_details, success, error_message
) on public.security_actions to app_readonly;

comment on table public.security_actions is
  'Automatic or manual counter-measures. Written by the security rules and by administrators.';
comment on column public.security_actions.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.security_actions.action_type is 'Kind of counter-measure.';
comment on column public.security_actions.target is 'What the measure is aimed at: an address, an account or a service.';
comment on column public.security_actions.reason is 'Why it was done.';
comment on column public.security_actions.evidence is 'What led to the measure, as an object.';
comment on column public.security_actions.severity is 'How serious it is.';
comment on column public.security_actions.status is 'Whether the measure is in force, has run out, was withdrawn or could not be applied.';
comment on column public.security_actions.created_at is 'When the row was made; set by the server.';
comment on column public.security_actions.expiration is 'When the measure ends by itself; null for never.';
comment on column public.security_actions.revoked_at is 'When it was revoked; null while valid.';
comment on column public.security_actions.auto_created is 'True when a rule made the measure, false when a person did.';
comment on column public.security_actions.created_by_user_id is 'Who made the row; null when a rule did or the account is gone.';
comment on column public.security_actions.created_by_session_id is 'Text identifier of the session in which it was made.';
comment on column public.security_actions.execution_details is 'How the measure was carried out, as JSON.';
comment on column public.security_actions.success is 'Whether the measure could be applied; null while it runs.';
comment on column public.security_actions.error_message is 'What went wrong; null when nothing did.';
