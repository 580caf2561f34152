-- Phase: 2
-- Why: protection levels: the user's own, the rules that demand one, what is still to do, and the way there.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.securitytier as enum ('STANDARD', 'ENHANCED', 'ENTERPRISE');
create type public.securityrequirementtype as enum (
  'TWO_FACTOR_AUTH', 'CLIENT_CERTIFICATE', 'DEVICE_TRUST', 'HARDWARE_KEY', 'THREAT_DETECTION',
  'COMPLIANCE_REPORTING'
);
create type public.securityrequirementstatus as enum ('NOT_CONFIGURED', 'IN_PROGRESS', 'COMPLETED', 'FAILED');

create table public.user_security_tiers (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  current_tier public.securitytier not null default 'STANDARD',
  requested_tier public.securitytier,
  upgrade_in_progress boolean not null default false,
  upgrade_started_at timestamptz,
  upgrade_completed_at timestamptz,
  security_config jsonb not null default '{}',
  tier_features varchar[] not null default '{}',
  minimum_required_tier public.securitytier,
  admin_enforced boolean not null default false,
  compliance_notes text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_security_tiers_pkey primary key (id),
  constraint user_security_tiers_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_user_security_tiers_current_tier on public.user_security_tiers (current_tier);
create unique index ix_user_security_tiers_user_id on public.user_security_tiers (user_id);

create trigger user_security_tiers_set_updated_at
  before update on public.user_security_tiers
  for each row execute function public.set_updated_at();

comment on table public.user_security_tiers is
  'Protection level per user. Written by the security service.';
comment on column public.user_security_tiers.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.user_security_tiers.user_id is 'The user the row belongs to.';
comment on column public.user_security_tiers.current_tier is 'Protection level in force.';
comment on column public.user_security_tiers.requested_tier is 'Protection level the user asked for; null for none.';
comment on column public.user_security_tiers.upgrade_in_progress is 'Whether a change of level is running.';
comment on column public.user_security_tiers.upgrade_started_at is 'When the running or last change was started.';
comment on column public.user_security_tiers.upgrade_completed_at is 'When the last change was finished.';
comment on column public.user_security_tiers.security_config is 'Settings of the level, as an object.';
comment on column public.user_security_tiers.tier_features is 'Names of the features switched on.';
comment on column public.user_security_tiers.minimum_required_tier is 'Lowest level a policy allows the user.';
comment on column public.user_security_tiers.admin_enforced is 'True when an administrator fixed the level.';
comment on column public.user_security_tiers.compliance_notes is 'Notes for auditors.';
comment on column public.user_security_tiers.created_at is 'When the row was made; set by the server.';
comment on column public.user_security_tiers.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.security_requirements (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  requirement_type public.securityrequirementtype not null,
  required_for_tier public.securitytier not null,
  status public.securityrequirementstatus not null default 'NOT_CONFIGURED',
  configuration_data jsonb,
  validation_data jsonb,
  setup_started_at timestamptz,
  completed_at timestamptz,
  last_validated_at timestamptz,
  error_message text,
  retry_count integer not null default 0,
  expires_at timestamptz,
  auto_renew boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint security_requirements_pkey primary key (id),
  constraint security_requirements_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_security_requirements_required_for_tier on public.security_requirements (required_for_tier);
create index ix_security_requirements_requirement_type on public.security_requirements (requirement_type);
create index ix_security_requirements_status on public.security_requirements (status);
create index ix_security_requirements_user_id on public.security_requirements (user_id);

create trigger security_requirements_set_updated_at
  before update on public.security_requirements
  for each row execute function public.set_updated_at();

-- Secret: configuration_data. The read-only role gets the other columns by name, so a column added later is hidden
-- from it until somebody decides otherwise.
revoke select on public.security_requirements from app_readonly;
grant select (
  id, user_id, requirement_type, required_for_tier, status, validation_data, setup_started_at, completed_at,
  last_validated_at, error_message, retry_count, expires_at, auto_renew, created_at, updated_at
) on public.security_requirements to app_readonly;

comment on table public.security_requirements is
  'What a user still has to do for a protection level. Written by the security service.';
comment on column public.security_requirements.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.security_requirements.user_id is 'The user the row belongs to.';
comment on column public.security_requirements.requirement_type is 'What has to be set up.';
comment on column public.security_requirements.required_for_tier is 'Protection level that demands it.';
comment on column public.security_requirements.status is 'How far the user is with this requirement.';
comment on column public.security_requirements.configuration_data is 'Settings made so far, as JSON; may name keys, so treated as secret.';
comment on column public.security_requirements.validation_data is 'Result of the last check, as JSON.';
comment on column public.security_requirements.setup_started_at is 'When the user began.';
comment on column public.security_requirements.completed_at is 'When it was finished; null while open.';
comment on column public.security_requirements.last_validated_at is 'When it was last checked.';
comment on column public.security_requirements.error_message is 'What went wrong; null when nothing did.';
comment on column public.security_requirements.retry_count is 'Retries so far.';
comment on column public.security_requirements.expires_at is 'When the row stops being valid.';
comment on column public.security_requirements.auto_renew is 'Whether it is renewed by itself.';
comment on column public.security_requirements.created_at is 'When the row was made; set by the server.';
comment on column public.security_requirements.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.security_tier_policies (
  id uuid not null default gen_random_uuid(),
  policy_name varchar(100) not null,
  description text,
  minimum_tier public.securitytier not null,
  allowed_tiers varchar[] not null,
  policy_rules jsonb not null,
  enforcement_level varchar(20) not null default 'ADVISORY',
  applies_to_roles varchar[],
  applies_to_users varchar[],
  exclude_users varchar[],
  grace_period_days integer not null default 30,
  compliance_deadline timestamptz,
  is_active boolean not null default true,
  created_by_user_id integer not null,
  approved_by_user_id integer,
  effective_date timestamptz not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint security_tier_policies_pkey primary key (id),
  constraint security_tier_policies_approved_by_user_id_fkey foreign key (approved_by_user_id) references public.users (id)
    on delete set null,
  constraint security_tier_policies_created_by_user_id_fkey foreign key (created_by_user_id) references public.users (id)
);

create index ix_security_tier_policies_is_active on public.security_tier_policies (is_active);
create index ix_security_tier_policies_minimum_tier on public.security_tier_policies (minimum_tier);
create index security_tier_policies_approved_by_user_id_idx on public.security_tier_policies (approved_by_user_id);
create index security_tier_policies_created_by_user_id_idx on public.security_tier_policies (created_by_user_id);

create trigger security_tier_policies_set_updated_at
  before update on public.security_tier_policies
  for each row execute function public.set_updated_at();

comment on table public.security_tier_policies is
  'Rules that demand a protection level. Written by administrators.';
comment on column public.security_tier_policies.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.security_tier_policies.policy_name is 'Name of the policy.';
comment on column public.security_tier_policies.description is 'Explanation for people.';
comment on column public.security_tier_policies.minimum_tier is 'Lowest protection level the policy allows.';
comment on column public.security_tier_policies.allowed_tiers is 'Names of the levels allowed.';
comment on column public.security_tier_policies.policy_rules is 'The rules, as an object.';
comment on column public.security_tier_policies.enforcement_level is 'ADVISORY, MANDATORY or STRICT.';
comment on column public.security_tier_policies.applies_to_roles is 'Roles bound by the policy; null for all.';
comment on column public.security_tier_policies.applies_to_users is 'User keys as text bound by the policy; null for all.';
comment on column public.security_tier_policies.exclude_users is 'User keys as text the policy spares.';
comment on column public.security_tier_policies.grace_period_days is 'Days a user has before the rule is enforced.';
comment on column public.security_tier_policies.compliance_deadline is 'When the rule must be met.';
comment on column public.security_tier_policies.is_active is 'True while the row is in force; set to false instead of deleting it.';
comment on column public.security_tier_policies.created_by_user_id is 'Who made the policy; the account can''t be deleted while the policy exists.';
comment on column public.security_tier_policies.approved_by_user_id is 'Who approved it; null while open or when the account is gone.';
comment on column public.security_tier_policies.effective_date is 'From when it holds.';
comment on column public.security_tier_policies.created_at is 'When the row was made; set by the server.';
comment on column public.security_tier_policies.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.security_tier_upgrade_logs (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  from_tier public.securitytier not null,
  to_tier public.securitytier not null,
  status varchar(20) not null default 'STARTED',
  progress_percentage integer not null default 0,
  current_step varchar(100),
  requirements_completed varchar[] not null default '{}',
  requirements_failed varchar[] not null default '{}',
  upgrade_method varchar(20) not null default 'USER_INITIATED',
  upgrade_reason text,
  error_details jsonb,
  retry_count integer not null default 0,
  started_at timestamptz not null default now(),
  completed_at timestamptz,
  last_activity_at timestamptz not null default now(),
  constraint security_tier_upgrade_logs_pkey primary key (id),
  constraint security_tier_upgrade_logs_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_security_tier_upgrade_logs_status on public.security_tier_upgrade_logs (status);
create index ix_security_tier_upgrade_logs_user_id on public.security_tier_upgrade_logs (user_id);

create trigger security_tier_upgrade_logs_set_last_activity_at
  before update on public.security_tier_upgrade_logs
  for each row execute function public.set_updated_at('last_activity_at');

comment on table public.security_tier_upgrade_logs is
  'Course of each change of protection level; rows change until the upgrade ends. Written by the security service.';
comment on column public.security_tier_upgrade_logs.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.security_tier_upgrade_logs.user_id is 'The user the row belongs to.';
comment on column public.security_tier_upgrade_logs.from_tier is 'Protection level before.';
comment on column public.security_tier_upgrade_logs.to_tier is 'Protection level aimed at.';
comment on column public.security_tier_upgrade_logs.status is 'STARTED, IN_PROGRESS, COMPLETED, FAILED or CANCELLED; moved on by the upgrade.';
comment on column public.security_tier_upgrade_logs.progress_percentage is 'Progress, 0 to 100.';
comment on column public.security_tier_upgrade_logs.current_step is 'Step that is running.';
comment on column public.security_tier_upgrade_logs.requirements_completed is 'Names of the requirements met.';
comment on column public.security_tier_upgrade_logs.requirements_failed is 'Names of the requirements that failed.';
comment on column public.security_tier_upgrade_logs.upgrade_method is 'USER_INITIATED, ADMIN_REQUIRED, POLICY_ENFORCED or AUTO_UPGRADE.';
comment on column public.security_tier_upgrade_logs.upgrade_reason is 'Why the level changes.';
comment on column public.security_tier_upgrade_logs.error_details is 'What went wrong, as JSON.';
comment on column public.security_tier_upgrade_logs.retry_count is 'Retries so far.';
comment on column public.security_tier_upgrade_logs.started_at is 'When the upgrade was started.';
comment on column public.security_tier_upgrade_logs.completed_at is 'When it was finished; null while open.';
comment on column public.security_tier_upgrade_logs.last_activity_at is 'Time of the last change; kept by a trigger.';

create view public.user_security_tier with (security_invoker = true) as
select
  id,
  user_id,
  current_tier,
  requested_tier,
  upgrade_in_progress,
  upgrade_started_at,
  upgrade_completed_at,
  security_config,
  tier_features,
  minimum_required_tier,
  admin_enforced,
  compliance_notes,
  created_at,
  updated_at
from public.user_security_tiers;

comment on view public.user_security_tier is 'The schema report''s name for public.user_security_tiers; rows can be read and written through it.';
