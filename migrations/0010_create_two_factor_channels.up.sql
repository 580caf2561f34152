-- Phase: 2
-- Why: SMS and e-mail as second factors, and the codes sent through them.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.smsprovider as enum ('twilio', 'aws_sns', 'nexmo', 'custom');
create type public.emailprovider as enum ('smtp', 'sendgrid', 'aws_ses', 'mailgun');

create table public.user_sms_two_factor (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  phone_number varchar(20) not null,
  country_code varchar(5) not null,
  is_verified boolean not null default false,
  verification_attempts integer not null default 0,
  provider public.smsprovider not null default 'twilio',
  provider_config jsonb,
  daily_sms_count integer not null default 0,
  daily_sms_reset_at timestamptz not null default now(),
  max_daily_sms integer not null default 10,
  last_code_sent_at timestamptz,
  failed_attempts_count integer not null default 0,
  locked_until timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_sms_two_factor_pkey primary key (id),
  constraint user_sms_two_factor_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create unique index ix_user_sms_two_factor_user_id on public.user_sms_two_factor (user_id);

create trigger user_sms_two_factor_set_updated_at
  before update on public.user_sms_two_factor
  for each row execute function public.set_updated_at();

-- Secret: provider_config. The read-only role gets the other columns by name, so a column added later is hidden
-- from it until somebody decides otherwise.
revoke select on public.user_sms_two_factor from app_readonly;
grant select (
  id, user_id, phone_number, country_code, is_verified, verification_attempts, provider, daily_sms_count,
  daily_sms_reset_at, max_daily_sms, last_code_sent_at, failed_attempts_count, locked_until, created_at, updated_at
) on public.user_sms_two_factor to app_readonly;

comment on table public.user_sms_two_factor is
  'Phone number as second factor, one row per user. Written by the two-factor service.';
comment on column public.user_sms_two_factor.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.user_sms_two_factor.user_id is 'The user the row belongs to.';
comment on column public.user_sms_two_factor.phone_number is 'Phone number, E.164.';
comment on column public.user_sms_two_factor.country_code is 'Dialling prefix, such as +49.';
comment on column public.user_sms_two_factor.is_verified is 'True once the address or number was confirmed by a code.';
comment on column public.user_sms_two_factor.verification_attempts is 'Failed verifications since the last success.';
comment on column public.user_sms_two_factor.provider is 'Service that sends the codes.';
comment on column public.user_sms_two_factor.provider_config is 'Settings of the sending service, as JSON; may hold credentials. Secret.';
comment on column public.user_sms_two_factor.daily_sms_count is 'SMS sent since daily_sms_reset_at.';
comment on column public.user_sms_two_factor.daily_sms_reset_at is 'When the daily SMS counter was last set to zero.';
comment on column public.user_sms_two_factor.max_daily_sms is 'SMS allowed per day.';
comment on column public.user_sms_two_factor.last_code_sent_at is 'When the last code was sent.';
comment on column public.user_sms_two_factor.failed_attempts_count is 'Wrong codes in a row; resets on success.';
comment on column public.user_sms_two_factor.locked_until is 'Until when this factor is locked after too many wrong codes.';
comment on column public.user_sms_two_factor.created_at is 'When the row was made; set by the server.';
comment on column public.user_sms_two_factor.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.user_email_two_factor (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  email_address varchar(255) not null,
  is_verified boolean not null default false,
  verification_attempts integer not null default 0,
  provider public.emailprovider not null default 'smtp',
  provider_config jsonb,
  daily_email_count integer not null default 0,
  daily_email_reset_at timestamptz not null default now(),
  max_daily_emails integer not null default 5,
  last_code_sent_at timestamptz,
  failed_attempts_count integer not null default 0,
  locked_until timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_email_two_factor_pkey primary key (id),
  constraint user_email_two_factor_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create unique index ix_user_email_two_factor_user_id on public.user_email_two_factor (user_id);

create trigger user_email_two_factor_set_updated_at
  before update on public.user_email_two_factor
  for each row execute function public.set_updated_at();

-- Secret: provider_config. The read-only role gets the other columns by name, so a column added later is hidden
-- from it until somebody decides otherwise.
revoke select on public.user_email_two_factor from app_readonly;
grant select (
  id, user_id, email_address, is_verified, verification_attempts, provider, daily_email_count, daily_email_reset_at,
  max_daily_emails, last_code_sent_at, failed_attempts_count, locked_until, created_at, updated_at
) on public.user_email_two_factor to app_readonly;

comment on table public.user_email_two_factor is
  'Mailbox as second factor, one row per user. Written by the two-factor service.';
comment on column public.user_email_two_factor.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.user_email_two_factor.user_id is 'The user the row belongs to.';
comment on column public.user_email_two_factor.email_address is 'Mailbox that receives the codes.';
comment on column public.user_email_two_factor.is_verified is 'True once the address or number was confirmed by a code.';
comment on column public.user_email_two_factor.verification_attempts is 'Failed verifications since the last success.';
comment on column public.user_email_two_factor.provider is 'Service that sends the codes.';
comment on column public.user_email_two_factor.provider_config is 'Settings of the sending service, as JSON; may hold credentials. Secret.';
comment on column public.user_email_two_factor.daily_email_count is 'E-mails sent since daily_email_reset_at.';
comment on column public.user_email_two_factor.daily_email_reset_at is 'When the daily e-mail counter was last set to zero.';
comment on column public.user_email_two_factor.max_daily_emails is 'E-mails allowed per day.';
comment on column public.user_email_two_factor.last_code_sent_at is 'When the last code was sent.';
comment on column public.user_email_two_factor.failed_attempts_count is 'Wrong codes in a row; resets on success.';
comment on column public.user_email_two_factor.locked_until is 'Until when this factor is locked after too many wrong codes.';
comment on column public.user_email_two_factor.created_at is 'When the row was made; set by the server.';
comment on column public.user_email_two_factor.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.two_factor_verification_codes (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  code_hash varchar(255) not null,
  method_type varchar(50) not null,
  destination varchar(255) not null,
  expires_at timestamptz not null,
  is_used boolean not null default false,
  used_at timestamptz,
  attempt_count integer not null default 0,
  max_attempts integer not null default 3,
  created_at timestamptz not null default now(),
  constraint two_factor_verification_codes_pkey primary key (id),
  constraint two_factor_verification_codes_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_two_factor_verification_codes_user_id on public.two_factor_verification_codes (user_id);

-- Secret: code_hash. The read-only role gets the other columns by name, so a column added later is hidden from it
-- until somebody decides otherwise.
revoke select on public.two_factor_verification_codes from app_readonly;
grant select (
  id, user_id, method_type, destination, expires_at, is_used, used_at, attempt_count, max_attempts, created_at
) on public.two_factor_verification_codes to app_readonly;

comment on table public.two_factor_verification_codes is
  'Hashed one-time codes sent by SMS or e-mail. Written by the two-factor service.';
comment on column public.two_factor_verification_codes.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.two_factor_verification_codes.user_id is 'The user the row belongs to.';
comment on column public.two_factor_verification_codes.code_hash is 'Hash of the one-time code, never the code. Secret.';
comment on column public.two_factor_verification_codes.method_type is 'sms or email.';
comment on column public.two_factor_verification_codes.destination is 'Masked number or address the code went to.';
comment on column public.two_factor_verification_codes.expires_at is 'When the row stops being valid.';
comment on column public.two_factor_verification_codes.is_used is 'True once the code was redeemed.';
comment on column public.two_factor_verification_codes.used_at is 'When the code was redeemed.';
comment on column public.two_factor_verification_codes.attempt_count is 'Wrong entries so far.';
comment on column public.two_factor_verification_codes.max_attempts is 'Wrong entries after which the code is void.';
comment on column public.two_factor_verification_codes.created_at is 'When the row was made; set by the server.';
