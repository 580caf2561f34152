-- Phase: 4
-- Why: requests of data subjects, retention policies as data, and the log of their runs.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.retentionpolicytype as enum ('ARCHIVE', 'DELETE', 'ANONYMIZE');

create table public.privacy_requests (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  request_type varchar(50) not null,
  request_details jsonb not null,
  requested_scope varchar[] not null,
  status varchar(20) not null default 'PENDING',
  legal_basis varchar(100),
  retention_override text,
  verification_method varchar(50),
  requested_at timestamptz not null default now(),
  due_date timestamptz not null,
  completed_at timestamptz,
  processor_notes text,
  data_export_path varchar,
  constraint privacy_requests_pkey primary key (id),
  constraint privacy_requests_user_id_fkey foreign key (user_id) references public.users (id)
);

create index ix_privacy_requests_request_type on public.privacy_requests (request_type);
create index ix_privacy_requests_user_id on public.privacy_requests (user_id);

comment on table public.privacy_requests is
  'Requests of data subjects. Written by the user and by whoever handles the request.';
comment on column public.privacy_requests.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.privacy_requests.user_id is 'The person who asked; the account can''t be deleted while its request is kept as proof.';
comment on column public.privacy_requests.request_type is 'DATA_EXPORT, DATA_DELETION, DATA_RECTIFICATION or DATA_PORTABILITY.';
comment on column public.privacy_requests.request_details is 'What the person asked for, as an object.';
comment on column public.privacy_requests.requested_scope is 'Names of the data areas concerned.';
comment on column public.privacy_requests.status is 'PENDING, IN_PROGRESS, COMPLETED, REJECTED or CANCELLED; set to COMPLETED by the privacy functions.';
comment on column public.privacy_requests.legal_basis is 'Legal basis of the processing.';
comment on column public.privacy_requests.retention_override is 'Why some data has to be kept in spite of the request.';
comment on column public.privacy_requests.verification_method is 'How the person''s identity was checked.';
comment on column public.privacy_requests.requested_at is 'When it was asked for; set by the server.';
comment on column public.privacy_requests.due_date is 'By when the request must be answered.';
comment on column public.privacy_requests.completed_at is 'When it was finished; null while open.';
comment on column public.privacy_requests.processor_notes is 'Notes of whoever carried the request out; the privacy functions add theirs.';
comment on column public.privacy_requests.data_export_path is 'Where the application put the export.';

create table public.data_retention_policies (
  id uuid not null default gen_random_uuid(),
  table_name varchar(64) not null,
  retention_period_days integer not null,
  policy_type public.retentionpolicytype not null,
  conditions jsonb,
  is_active boolean not null default true,
  last_run_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint data_retention_policies_pkey primary key (id)
);

create index ix_data_retention_policies_is_active on public.data_retention_policies (is_active);
create index ix_data_retention_policies_table_name on public.data_retention_policies (table_name);

create trigger data_retention_policies_set_updated_at
  before update on public.data_retention_policies
  for each row execute function public.set_updated_at();

comment on table public.data_retention_policies is
  'How long rows of a table are kept; read by maintenance.apply_retention. Written by administrators.';
comment on column public.data_retention_policies.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.data_retention_policies.table_name is 'Table concerned, without its schema.';
comment on column public.data_retention_policies.retention_period_days is 'Days rows are kept.';
comment on column public.data_retention_policies.policy_type is 'What happens to rows past their time: ARCHIVE, DELETE or ANONYMIZE.';
comment on column public.data_retention_policies.conditions is 'Column that decides the age, legal basis and restriction, as an object: column, legal_basis, reason, match, set.';
comment on column public.data_retention_policies.is_active is 'False switches the policy off without losing it.';
comment on column public.data_retention_policies.last_run_at is 'When the policy was last applied; written by maintenance.apply_retention.';
comment on column public.data_retention_policies.created_at is 'When the row was made; set by the server.';
comment on column public.data_retention_policies.updated_at is 'When the row was last changed; kept by a trigger.';

create table audit.data_retention_logs (
  id uuid not null default gen_random_uuid(),
  policy_id uuid not null,
  table_name varchar(64) not null,
  retention_action varchar(20) not null,
  records_affected integer not null default 0,
  criteria_applied jsonb not null,
  scheduled_at timestamptz not null,
  executed_at timestamptz not null default now(),
  execution_duration_seconds integer,
  execution_status varchar(20) not null default 'SUCCESS',
  error_message text,
  warnings varchar[] not null default '{}',
  compliance_reason varchar(100) not null,
  legal_basis varchar(100),
  verification_hash varchar(128),
  executed_by integer,
  constraint data_retention_logs_pkey primary key (id),
  constraint data_retention_logs_executed_by_fkey foreign key (executed_by) references public.users (id)
    on delete set null,
  constraint data_retention_logs_policy_id_fkey foreign key (policy_id) references public.data_retention_policies (id)
);

create index idx_retention_action on audit.data_retention_logs (retention_action);
create index idx_retention_executed on audit.data_retention_logs (executed_at);
create index idx_retention_table on audit.data_retention_logs (table_name);
create index data_retention_logs_executed_by_idx on audit.data_retention_logs (executed_by);
create index idx_retention_policy on audit.data_retention_logs (policy_id);

grant select, insert on audit.data_retention_logs to app_user;
grant select on audit.data_retention_logs to app_readonly;

comment on table audit.data_retention_logs is
  'What each run of a retention policy did; append-only for the application. Written by maintenance.apply_retention.';
comment on column audit.data_retention_logs.id is 'Key of the row; made by the server unless the application sends one.';
comment on column audit.data_retention_logs.policy_id is 'Policy that was applied.';
comment on column audit.data_retention_logs.table_name is 'Table concerned, without its schema.';
comment on column audit.data_retention_logs.retention_action is 'ARCHIVE, DELETE, ANONYMIZE or PURGE; PURGE is a dropped partition.';
comment on column audit.data_retention_logs.records_affected is 'Rows deleted or changed; for a dropped partition its estimated number.';
comment on column audit.data_retention_logs.criteria_applied is 'Column, limit and restriction that were applied, as an object.';
comment on column audit.data_retention_logs.scheduled_at is 'When the run was begun.';
comment on column audit.data_retention_logs.executed_at is 'When this entry was written; set by the server.';
comment on column audit.data_retention_logs.execution_duration_seconds is 'Duration in seconds.';
comment on column audit.data_retention_logs.execution_status is 'SUCCESS, FAILURE, PARTIAL or SKIPPED.';
comment on column audit.data_retention_logs.error_message is 'What went wrong; null when nothing did.';
comment on column audit.data_retention_logs.warnings is 'What to look at, one entry each.';
comment on column audit.data_retention_logs.compliance_reason is 'Why rows of this table go.';
comment on column audit.data_retention_logs.legal_basis is 'Legal basis of the processing.';
comment on column audit.data_retention_logs.verification_hash is 'Hash over what was done, where the application asks for one.';
comment on column audit.data_retention_logs.executed_by is 'User who ran the policy; null for scheduled maintenance or when the account is gone.';

create view public.data_retention_logs with (security_invoker = true) as
select
  id,
  policy_id,
  table_name,
  retention_action,
  records_affected,
  criteria_applied,
  scheduled_at,
  executed_at,
  execution_duration_seconds,
  execution_status,
  error_message,
  warnings,
  compliance_reason,
  legal_basis,
  verification_hash,
  executed_by
from audit.data_retention_logs;

revoke update, delete, truncate on public.data_retention_logs from app_user;

comment on view public.data_retention_logs is 'The schema report''s name for audit.data_retention_logs; rows can be read and written through it.';
