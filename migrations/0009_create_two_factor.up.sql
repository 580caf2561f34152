-- Phase: 2
-- Why: which second factors a user has, what they prefer, and the prompts in flight.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.twofactormethod as enum ('totp', 'passkey', 'backup_codes');

create table public.user_two_factor_auth (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  is_enabled boolean not null default false,
  default_method public.twofactormethod,
  totp_secret varchar(32),
  totp_enabled boolean not null default false,
  totp_backup_codes json,
  passkey_enabled boolean not null default false,
  recovery_email varchar(255),
  recovery_phone varchar(20),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_two_factor_auth_pkey primary key (id),
  constraint user_two_factor_auth_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create unique index ix_user_two_factor_auth_user_id on public.user_two_factor_auth (user_id);

create trigger user_two_factor_auth_set_updated_at
  before update on public.user_two_factor_auth
  for each row execute function public.set_updated_at();

-- Secret: totp_secret and totp_backup_codes. The read-only role gets the other columns by name, so a column added
-- later is hidden from it until somebody decides otherwise.
revoke select on public.user_two_factor_auth from app_readonly;
grant select (
  id, user_id, is_enabled, default_method, totp_enabled, passkey_enabled, recovery_email, recovery_phone,
  created_at, updated_at
) on public.user_two_factor_auth to app_readonly;

comment on table public.user_two_factor_auth is
  'Which second factors a user has switched on, one row per user. Written by the two-factor service.';
comment on column public.user_two_factor_auth.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.user_two_factor_auth.user_id is 'The user the row belongs to.';
comment on column public.user_two_factor_auth.is_enabled is 'True when a second factor is demanded at login.';
comment on column public.user_two_factor_auth.default_method is 'Second factor that is asked first.';
comment on column public.user_two_factor_auth.totp_secret is 'TOTP secret (base32), written by the two-factor service. Secret.';
comment on column public.user_two_factor_auth.totp_enabled is 'True when TOTP is set up.';
comment on column public.user_two_factor_auth.totp_backup_codes is 'One-time backup codes, encrypted, as a JSON list. Secret.';
comment on column public.user_two_factor_auth.passkey_enabled is 'True when at least one passkey is set up.';
comment on column public.user_two_factor_auth.recovery_email is 'Mailbox for account recovery.';
comment on column public.user_two_factor_auth.recovery_phone is 'Phone number for account recovery, E.164.';
comment on column public.user_two_factor_auth.created_at is 'When the row was made; set by the server.';
comment on column public.user_two_factor_auth.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.user_two_factor_settings (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  preferred_method varchar(50),
  fallback_method varchar(50),
  remember_device_preference boolean not null default true,
  notify_on_new_device boolean not null default true,
  notify_on_failed_attempt boolean not null default true,
  notification_email varchar(255),
  require_2fa_for_sensitive_actions boolean not null default false,
  auto_logout_minutes integer,
  allow_backup_codes boolean not null default true,
  setup_completed_at timestamptz,
  last_method_change timestamptz,
  total_method_changes integer not null default 0,
  custom_settings jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_two_factor_settings_pkey primary key (id),
  constraint user_two_factor_settings_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create unique index ix_user_two_factor_settings_user_id on public.user_two_factor_settings (user_id);

create trigger user_two_factor_settings_set_updated_at
  before update on public.user_two_factor_settings
  for each row execute function public.set_updated_at();

comment on table public.user_two_factor_settings is
  'Second-factor preferences, one row per user. Written by the user in the settings.';
comment on column public.user_two_factor_settings.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.user_two_factor_settings.user_id is 'The user the row belongs to.';
comment on column public.user_two_factor_settings.preferred_method is 'Second factor the user wants to be asked for first.';
comment on column public.user_two_factor_settings.fallback_method is 'Second factor to offer next.';
comment on column public.user_two_factor_settings.remember_device_preference is 'Whether the user wants devices to be remembered.';
comment on column public.user_two_factor_settings.notify_on_new_device is 'Whether a login from a new device is reported to the user.';
comment on column public.user_two_factor_settings.notify_on_failed_attempt is 'Whether a failed attempt is reported to the user.';
comment on column public.user_two_factor_settings.notification_email is 'Address for these reports; null for the account''s own.';
comment on column public.user_two_factor_settings.require_2fa_for_sensitive_actions is 'Whether sensitive actions ask for a second factor again.';
comment on column public.user_two_factor_settings.auto_logout_minutes is 'Minutes of inactivity until logout; null for the policy''s value.';
comment on column public.user_two_factor_settings.allow_backup_codes is 'Whether backup codes are accepted.';
comment on column public.user_two_factor_settings.setup_completed_at is 'When the set-up was finished.';
comment on column public.user_two_factor_settings.last_method_change is 'When a method was last added or removed.';
comment on column public.user_two_factor_settings.total_method_changes is 'How often methods were changed.';
comment on column public.user_two_factor_settings.custom_settings is 'Further settings, as an object.';
comment on column public.user_two_factor_settings.created_at is 'When the row was made; set by the server.';
comment on column public.user_two_factor_settings.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.two_factor_challenges (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  challenge_type public.twofactormethod not null,
  challenge_data json not null,
  session_token varchar(255) not null,
  device_fingerprint varchar(512),
  expires_at timestamptz not null,
  is_completed boolean not null default false,
  completed_at timestamptz,
  created_at timestamptz not null default now(),
  constraint two_factor_challenges_pkey primary key (id),
  constraint two_factor_challenges_session_token_key unique (session_token),
  constraint two_factor_challenges_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_two_factor_challenges_user_id on public.two_factor_challenges (user_id);

-- Secret: challenge_data and session_token. The read-only role gets the other columns by name, so a column added
-- later is hidden from it until somebody decides otherwise.
revoke select on public.two_factor_challenges from app_readonly;
grant select (
  id, user_id, challenge_type, device_fingerprint, expires_at, is_completed, completed_at, created_at
) on public.two_factor_challenges to app_readonly;

comment on table public.two_factor_challenges is
  'Second-factor prompts that live for minutes. Written by the two-factor service.';
comment on column public.two_factor_challenges.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.two_factor_challenges.user_id is 'The user the row belongs to.';
comment on column public.two_factor_challenges.challenge_type is 'Second factor that was asked for.';
comment on column public.two_factor_challenges.challenge_data is 'What the answer is checked against, as JSON; its shape depends on the method. Secret.';
comment on column public.two_factor_challenges.session_token is 'Token of the half-finished login the challenge belongs to. Secret.';
comment on column public.two_factor_challenges.device_fingerprint is 'Hash over properties of the browser or device, made by the client.';
comment on column public.two_factor_challenges.expires_at is 'When the prompt stops being accepted; a few minutes after it was made.';
comment on column public.two_factor_challenges.is_completed is 'True once the prompt was answered correctly.';
comment on column public.two_factor_challenges.completed_at is 'When it was finished; null while open.';
comment on column public.two_factor_challenges.created_at is 'When the row was made; set by the server.';
