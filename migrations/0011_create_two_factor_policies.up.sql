-- Phase: 2
-- Why: the rules for second factors, and their exceptions in time and by person.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.twofactorpolicytype as enum ('mandatory_all', 'mandatory_admin', 'optional', 'role_based');
create type public.twofactorgracestatus as enum ('active', 'expired', 'completed', 'extended');

create table public.two_factor_policies (
  id uuid not null default gen_random_uuid(),
  policy_type public.twofactorpolicytype not null default 'mandatory_all',
  is_active boolean not null default true,
  grace_period_days integer not null default 7,
  grace_period_warning_days integer not null default 3,
  max_grace_extensions integer not null default 1,
  allow_admin_override boolean not null default true,
  admin_override_duration_hours integer not null default 24,
  require_admin_approval_for_disable boolean not null default true,
  minimum_methods_required integer not null default 1,
  allowed_methods jsonb not null default '["totp", "passkey", "backup_codes"]',
  preferred_method_order jsonb not null default '["passkey", "totp", "backup_codes"]',
  require_backup_method boolean not null default true,
  session_timeout_minutes integer not null default 30,
  remember_device_days integer not null default 30,
  created_by integer,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint two_factor_policies_pkey primary key (id),
  constraint two_factor_policies_created_by_fkey foreign key (created_by) references public.users (id)
    on delete set null
);

create index two_factor_policies_created_by_idx on public.two_factor_policies (created_by);

create trigger two_factor_policies_set_updated_at
  before update on public.two_factor_policies
  for each row execute function public.set_updated_at();

comment on table public.two_factor_policies is
  'Installation-wide second-factor rules. Written by administrators.';
comment on column public.two_factor_policies.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.two_factor_policies.policy_type is 'Whom the policy binds.';
comment on column public.two_factor_policies.is_active is 'True while the row is in force; set to false instead of deleting it.';
comment on column public.two_factor_policies.grace_period_days is 'Days a user has before the rule is enforced.';
comment on column public.two_factor_policies.grace_period_warning_days is 'Days before the end at which the user is warned.';
comment on column public.two_factor_policies.max_grace_extensions is 'How often the window may be extended.';
comment on column public.two_factor_policies.allow_admin_override is 'Whether administrators may grant exceptions.';
comment on column public.two_factor_policies.admin_override_duration_hours is 'Hours an exception lasts.';
comment on column public.two_factor_policies.require_admin_approval_for_disable is 'Whether switching a second factor off needs an administrator.';
comment on column public.two_factor_policies.minimum_methods_required is 'Number of second factors a user must have.';
comment on column public.two_factor_policies.allowed_methods is 'Methods that may be used, as a JSON list of names.';
comment on column public.two_factor_policies.preferred_method_order is 'Order in which methods are offered, as a JSON list of names.';
comment on column public.two_factor_policies.require_backup_method is 'Whether a backup method must be set up.';
comment on column public.two_factor_policies.session_timeout_minutes is 'Minutes after which an idle session ends.';
comment on column public.two_factor_policies.remember_device_days is 'Days a device may stay remembered.';
comment on column public.two_factor_policies.created_by is 'Administrator who made the row; null when the account is gone.';
comment on column public.two_factor_policies.created_at is 'When the row was made; set by the server.';
comment on column public.two_factor_policies.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.user_two_factor_grace_periods (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  status public.twofactorgracestatus not null default 'active',
  start_date timestamptz not null,
  end_date timestamptz not null,
  extension_count integer not null default 0,
  warning_sent_at timestamptz,
  final_warning_sent_at timestamptz,
  extended_by integer,
  extension_reason text,
  completed_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_two_factor_grace_periods_pkey primary key (id),
  constraint user_two_factor_grace_periods_extended_by_fkey foreign key (extended_by) references public.users (id)
    on delete set null,
  constraint user_two_factor_grace_periods_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_user_two_factor_grace_periods_user_id on public.user_two_factor_grace_periods (user_id);
create index user_two_factor_grace_periods_extended_by_idx on public.user_two_factor_grace_periods (extended_by);

create trigger user_two_factor_grace_periods_set_updated_at
  before update on public.user_two_factor_grace_periods
  for each row execute function public.set_updated_at();

comment on table public.user_two_factor_grace_periods is
  'Window in which a user may still log in without a second factor. Written by the two-factor service and by administrators.';
comment on column public.user_two_factor_grace_periods.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.user_two_factor_grace_periods.user_id is 'The user the row belongs to.';
comment on column public.user_two_factor_grace_periods.status is 'State of the window; moved on by the two-factor service.';
comment on column public.user_two_factor_grace_periods.start_date is 'Start of the window.';
comment on column public.user_two_factor_grace_periods.end_date is 'End of the window; not before its start.';
comment on column public.user_two_factor_grace_periods.extension_count is 'How often it was extended.';
comment on column public.user_two_factor_grace_periods.warning_sent_at is 'When the first warning was sent.';
comment on column public.user_two_factor_grace_periods.final_warning_sent_at is 'When the last warning was sent.';
comment on column public.user_two_factor_grace_periods.extended_by is 'Administrator who extended it; null when the account is gone.';
comment on column public.user_two_factor_grace_periods.extension_reason is 'Why it was extended.';
comment on column public.user_two_factor_grace_periods.completed_at is 'When it was finished; null while open.';
comment on column public.user_two_factor_grace_periods.created_at is 'When the row was made; set by the server.';
comment on column public.user_two_factor_grace_periods.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.two_factor_admin_overrides (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  admin_user_id integer not null,
  override_type varchar(50) not null,
  reason text not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  is_active boolean not null default true,
  requires_approval boolean not null default false,
  approved_by integer,
  approved_at timestamptz,
  is_emergency boolean not null default false,
  emergency_contact_notified boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint two_factor_admin_overrides_pkey primary key (id),
  constraint two_factor_admin_overrides_admin_user_id_fkey foreign key (admin_user_id) references public.users (id),
  constraint two_factor_admin_overrides_approved_by_fkey foreign key (approved_by) references public.users (id)
    on delete set null,
  constraint two_factor_admin_overrides_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_two_factor_admin_overrides_admin_user_id on public.two_factor_admin_overrides (admin_user_id);
create index ix_two_factor_admin_overrides_user_id on public.two_factor_admin_overrides (user_id);
create index two_factor_admin_overrides_approved_by_idx on public.two_factor_admin_overrides (approved_by);

create trigger two_factor_admin_overrides_set_updated_at
  before update on public.two_factor_admin_overrides
  for each row execute function public.set_updated_at();

comment on table public.two_factor_admin_overrides is
  'Exceptions from the second-factor rules granted by administrators. Written by administrators.';
comment on column public.two_factor_admin_overrides.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.two_factor_admin_overrides.user_id is 'The user the row belongs to.';
comment on column public.two_factor_admin_overrides.admin_user_id is 'Administrator who granted the exception; the account can''t be deleted while the exception is kept as proof.';
comment on column public.two_factor_admin_overrides.override_type is 'disable, bypass or extend_grace.';
comment on column public.two_factor_admin_overrides.reason is 'Why it was done.';
comment on column public.two_factor_admin_overrides.start_time is 'Start.';
comment on column public.two_factor_admin_overrides.end_time is 'End; not before the start.';
comment on column public.two_factor_admin_overrides.is_active is 'True while the row is in force; set to false instead of deleting it.';
comment on column public.two_factor_admin_overrides.requires_approval is 'Whether a second administrator must agree.';
comment on column public.two_factor_admin_overrides.approved_by is 'Who approved it; null while open or when the account is gone.';
comment on column public.two_factor_admin_overrides.approved_at is 'When it was approved.';
comment on column public.two_factor_admin_overrides.is_emergency is 'True for an exception granted in an emergency.';
comment on column public.two_factor_admin_overrides.emergency_contact_notified is 'Whether the emergency contact was told.';
comment on column public.two_factor_admin_overrides.created_at is 'When the row was made; set by the server.';
comment on column public.two_factor_admin_overrides.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.two_factor_compliance_reports (
  id uuid not null default gen_random_uuid(),
  report_type varchar(50) not null,
  period_start timestamptz not null,
  period_end timestamptz not null,
  total_users integer not null,
  users_with_2fa integer not null,
  users_in_grace_period integer not null,
  users_overdue integer not null,
  totp_users integer not null default 0,
  passkey_users integer not null default 0,
  sms_users integer not null default 0,
  email_users integer not null default 0,
  failed_2fa_attempts integer not null default 0,
  admin_overrides_count integer not null default 0,
  backup_codes_used integer not null default 0,
  compliance_details jsonb not null default '{}',
  recommendations jsonb not null default '[]',
  generated_by integer,
  generated_at timestamptz not null default now(),
  constraint two_factor_compliance_reports_pkey primary key (id),
  constraint two_factor_compliance_reports_generated_by_fkey foreign key (generated_by) references public.users (id)
    on delete set null
);

create index two_factor_compliance_reports_generated_by_idx on public.two_factor_compliance_reports (generated_by);

comment on table public.two_factor_compliance_reports is
  'Second-factor coverage per period. Written by the report worker.';
comment on column public.two_factor_compliance_reports.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.two_factor_compliance_reports.report_type is 'daily, weekly or monthly.';
comment on column public.two_factor_compliance_reports.period_start is 'Start of the period covered.';
comment on column public.two_factor_compliance_reports.period_end is 'End of the period covered; not before its start.';
comment on column public.two_factor_compliance_reports.total_users is 'Users counted.';
comment on column public.two_factor_compliance_reports.users_with_2fa is 'Users with a second factor.';
comment on column public.two_factor_compliance_reports.users_in_grace_period is 'Users still inside their grace period.';
comment on column public.two_factor_compliance_reports.users_overdue is 'Users without a second factor past their grace period.';
comment on column public.two_factor_compliance_reports.totp_users is 'Users with TOTP.';
comment on column public.two_factor_compliance_reports.passkey_users is 'Users with a passkey.';
comment on column public.two_factor_compliance_reports.sms_users is 'Users with SMS codes.';
comment on column public.two_factor_compliance_reports.email_users is 'Users with e-mail codes.';
comment on column public.two_factor_compliance_reports.failed_2fa_attempts is 'Failed second factors in the period.';
comment on column public.two_factor_compliance_reports.admin_overrides_count is 'Exceptions granted in the period.';
comment on column public.two_factor_compliance_reports.backup_codes_used is 'Backup codes redeemed in the period.';
comment on column public.two_factor_compliance_reports.compliance_details is 'Breakdown of the figures, as an object.';
comment on column public.two_factor_compliance_reports.recommendations is 'What to do next, as a list.';
comment on column public.two_factor_compliance_reports.generated_by is 'User who asked for the report; null for a scheduled one or when the account is gone.';
comment on column public.two_factor_compliance_reports.generated_at is 'When it was generated.';
