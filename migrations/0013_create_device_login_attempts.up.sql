-- Phase: 2
-- Why: every attempt is a row for ever; partitioned by month for the same reasons as two_factor_audit_log.
-- Lock: SHARE ROW EXCLUSIVE on public.registered_devices and public.users from the foreign keys to the end of the run:
--   writes there wait, reads do not.

create table public.device_login_attempts (
  id uuid not null default gen_random_uuid(),
  user_id integer,
  device_id uuid,
  email varchar(255) not null,
  device_fingerprint varchar(512) not null,
  ip_address varchar(45) not null,
  user_agent text not null,
  was_successful boolean not null,
  failure_reason varchar(255),
  used_2fa boolean not null default false,
  two_factor_method public.twofactormethod,
  attempted_at timestamptz not null default now(),
  constraint device_login_attempts_pkey primary key (id, attempted_at),
  constraint device_login_attempts_device_id_fkey foreign key (device_id) references public.registered_devices (id)
    on delete set null,
  constraint device_login_attempts_user_id_fkey foreign key (user_id) references public.users (id)
    on delete set null
) partition by range (attempted_at);

create table partitions.device_login_attempts_default partition of public.device_login_attempts default;

create index ix_device_login_attempts_user_id on public.device_login_attempts (user_id);
create index device_login_attempts_device_id_idx on public.device_login_attempts (device_id);

-- A log is written once; what is too old goes with its partition.
revoke update, delete, truncate on public.device_login_attempts from app_user;

comment on table public.device_login_attempts is
  'Every login attempt with device and outcome; partitioned by month of attempted_at, append-only for the application. Written by the login service.';
comment on column public.device_login_attempts.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.device_login_attempts.user_id is 'The account that matched; null when none did or when it was erased.';
comment on column public.device_login_attempts.device_id is 'Known device the row belongs to; null when unknown or removed.';
comment on column public.device_login_attempts.email is 'Address that was typed in; may be mistyped, so its format is not checked.';
comment on column public.device_login_attempts.device_fingerprint is 'Hash over properties of the browser or device, made by the client.';
comment on column public.device_login_attempts.ip_address is 'Address of the client, IPv4 or IPv6 as text.';
comment on column public.device_login_attempts.user_agent is 'User-Agent header of the client.';
comment on column public.device_login_attempts.was_successful is 'Whether the login succeeded.';
comment on column public.device_login_attempts.failure_reason is 'Why it failed; null on success.';
comment on column public.device_login_attempts.used_2fa is 'Whether a second factor was used.';
comment on column public.device_login_attempts.two_factor_method is 'Second factor that was used; null for none.';
comment on column public.device_login_attempts.attempted_at is 'When the attempt was made; also decides the partition.';
