-- Phase: 4
-- Why: four logs that grow without bound and that nothing refers to: partitioned by month, retention by dropping
--   partitions. user_id has no foreign key where the models leave it out, so that a log outlives the user.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.auditoperation as enum ('INSERT', 'UPDATE', 'DELETE', 'SELECT', 'TRUNCATE');

create table audit.audit_log (
  id uuid not null default gen_random_uuid(),
  table_name varchar(64) not null,
  operation public.auditoperation not null,
  user_id integer,
  session_id varchar,
  row_id varchar,
  old_values jsonb,
  new_values jsonb,
  changed_fields varchar[],
  ip_address varchar(45),
  user_agent text,
  application_name varchar(100),
  transaction_id bigint,
  query text,
  security_context jsonb,
  created_at timestamptz not null default now(),
  constraint audit_log_pkey primary key (id, created_at)
) partition by range (created_at);

create table partitions.audit_log_default partition of audit.audit_log default;

create index ix_audit_audit_log_created_at on audit.audit_log (created_at);
create index ix_audit_audit_log_ip_address on audit.audit_log (ip_address);
create index ix_audit_audit_log_operation on audit.audit_log (operation);
create index ix_audit_audit_log_session_id on audit.audit_log (session_id);
create index ix_audit_audit_log_table_name on audit.audit_log (table_name);
create index ix_audit_audit_log_transaction_id on audit.audit_log (transaction_id);
create index ix_audit_audit_log_user_id on audit.audit_log (user_id);

grant select, insert on audit.audit_log to app_user;
-- Secret: session_id. The read-only role gets the other columns by name, so a column added later is hidden from it
-- until somebody decides otherwise.
grant select (
  id, table_name, operation, user_id, row_id, old_values, new_values, changed_fields, ip_address, user_agent,
  application_name, transaction_id, query, security_context, created_at
) on audit.audit_log to app_readonly;

comment on table audit.audit_log is
  'Trail of changes to the security-relevant tables; partitioned by month of created_at, append-only for the application. Written by the trigger function audit.record_change.';
comment on column audit.audit_log.id is 'Key of the row; made by the server unless the application sends one.';
comment on column audit.audit_log.table_name is 'Changed table, without its schema.';
comment on column audit.audit_log.operation is 'Kind of change.';
comment on column audit.audit_log.user_id is 'User who made the change, from the session setting app.user_id; without a foreign key, so that it outlives the user.';
comment on column audit.audit_log.session_id is 'Session in which it was made, from the session setting app.session_id. Secret while the session lasts.';
comment on column audit.audit_log.row_id is 'Key of the changed row, as text.';
comment on column audit.audit_log.old_values is 'Row before the change, secrets masked; null for an insert.';
comment on column audit.audit_log.new_values is 'Row after the change, secrets masked; null for a deletion.';
comment on column audit.audit_log.changed_fields is 'Names of the columns that changed; null unless it was an update.';
comment on column audit.audit_log.ip_address is 'Address of the client, from the session setting app.ip_address; the connection''s own would be the pooler''s.';
comment on column audit.audit_log.user_agent is 'User-Agent header of the client, from the session setting app.user_agent.';
comment on column audit.audit_log.application_name is 'Name the connection gave itself.';
comment on column audit.audit_log.transaction_id is 'Number of the database transaction, so that changes made together can be found.';
comment on column audit.audit_log.query is 'Text of the statement; left empty by the trigger, as it may hold secrets.';
comment on column audit.audit_log.security_context is 'Who acted at the database, as an object: db_role, and subject_user_id, the user the row belongs to.';
comment on column audit.audit_log.created_at is 'When it was changed; set by the server; also decides the partition.';

create table audit.security_violations (
  id uuid not null default gen_random_uuid(),
  violation_type varchar(50) not null,
  severity public.violationseverity not null,
  user_id integer,
  session_id varchar,
  table_name varchar(64),
  attempted_operation varchar(20),
  violation_details jsonb not null,
  ip_address varchar(45),
  user_agent text,
  blocked boolean not null default true,
  resolved boolean not null default false,
  resolution_notes text,
  created_at timestamptz not null default now(),
  resolved_at timestamptz,
  constraint security_violations_pkey primary key (id, created_at)
) partition by range (created_at);

create table partitions.security_violations_default partition of audit.security_violations default;

create index ix_audit_security_violations_blocked on audit.security_violations (blocked);
create index ix_audit_security_violations_created_at on audit.security_violations (created_at);
create index ix_audit_security_violations_ip_address on audit.security_violations (ip_address);
create index ix_audit_security_violations_resolved on audit.security_violations (resolved);
create index ix_audit_security_violations_session_id on audit.security_violations (session_id);
create index ix_audit_security_violations_severity on audit.security_violations (severity);
create index ix_audit_security_violations_user_id on audit.security_violations (user_id);
create index ix_audit_security_violations_violation_type on audit.security_violations (violation_type);

grant select, insert, update, delete on audit.security_violations to app_user;
-- Secret: session_id. The read-only role gets the other columns by name, so a column added later is hidden from it
-- until somebody decides otherwise.
grant select (
  id, violation_type, severity, user_id, table_name, attempted_operation, violation_details, ip_address, user_agent,
  blocked, resolved, resolution_notes, created_at, resolved_at
) on audit.security_violations to app_readonly;

comment on table audit.security_violations is
  'Refused or suspicious operations; partitioned by month of created_at. Written by the security middleware, resolved by administrators.';
comment on column audit.security_violations.id is 'Key of the row; made by the server unless the application sends one.';
comment on column audit.security_violations.violation_type is 'Kind of violation.';
comment on column audit.security_violations.severity is 'How serious it is.';
comment on column audit.security_violations.user_id is 'User concerned; without a foreign key, so that it outlives the user.';
comment on column audit.security_violations.session_id is 'Text identifier of the session concerned. Secret while the session lasts.';
comment on column audit.security_violations.table_name is 'Table concerned, without its schema.';
comment on column audit.security_violations.attempted_operation is 'What was tried.';
comment on column audit.security_violations.violation_details is 'Further facts, as an object.';
comment on column audit.security_violations.ip_address is 'Address of the client, IPv4 or IPv6 as text.';
comment on column audit.security_violations.user_agent is 'User-Agent header of the client.';
comment on column audit.security_violations.blocked is 'Whether it was stopped.';
comment on column audit.security_violations.resolved is 'Whether somebody dealt with it.';
comment on column audit.security_violations.resolution_notes is 'How it was dealt with.';
comment on column audit.security_violations.created_at is 'When it happened; set by the server; also decides the partition.';
comment on column audit.security_violations.resolved_at is 'When it was resolved; null while open.';

create table audit.data_access_log (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  service_name varchar(50) not null,
  access_type varchar(20) not null,
  table_name varchar(64) not null,
  row_count integer not null default 0,
  sensitive_data_accessed boolean not null default false,
  access_pattern jsonb,
  session_id varchar,
  ip_address varchar(45),
  response_time_ms integer,
  created_at timestamptz not null default now(),
  constraint data_access_log_pkey primary key (id, created_at),
  constraint data_access_log_user_id_fkey foreign key (user_id) references public.users (id)
) partition by range (created_at);

create table partitions.data_access_log_default partition of audit.data_access_log default;

create index ix_audit_data_access_log_access_type on audit.data_access_log (access_type);
create index ix_audit_data_access_log_created_at on audit.data_access_log (created_at);
create index ix_audit_data_access_log_sensitive_data_accessed on audit.data_access_log (sensitive_data_accessed);
create index ix_audit_data_access_log_service_name on audit.data_access_log (service_name);
create index ix_audit_data_access_log_session_id on audit.data_access_log (session_id);
create index ix_audit_data_access_log_table_name on audit.data_access_log (table_name);
create index ix_audit_data_access_log_user_id on audit.data_access_log (user_id);

grant select, insert on audit.data_access_log to app_user;
-- Secret: session_id. The read-only role gets the other columns by name, so a column added later is hidden from it
-- until somebody decides otherwise.
grant select (
  id, user_id, service_name, access_type, table_name, row_count, sensitive_data_accessed, access_pattern,
  ip_address, response_time_ms, created_at
) on audit.data_access_log to app_readonly;

comment on table audit.data_access_log is
  'Reads of user data per service; partitioned by month of created_at, append-only for the application. Written by the services that read.';
comment on column audit.data_access_log.id is 'Key of the row; made by the server unless the application sends one.';
comment on column audit.data_access_log.user_id is 'User whose data was read; the account can''t be deleted while the entry is kept as proof.';
comment on column audit.data_access_log.service_name is 'Service concerned.';
comment on column audit.data_access_log.access_type is 'How the data was read.';
comment on column audit.data_access_log.table_name is 'Table concerned, without its schema.';
comment on column audit.data_access_log.row_count is 'Rows read.';
comment on column audit.data_access_log.sensitive_data_accessed is 'Whether sensitive data was among them.';
comment on column audit.data_access_log.access_pattern is 'How the data was looked for, as JSON.';
comment on column audit.data_access_log.session_id is 'Text identifier of the reader''s session. Secret while the session lasts.';
comment on column audit.data_access_log.ip_address is 'Address of the client, IPv4 or IPv6 as text.';
comment on column audit.data_access_log.response_time_ms is 'Response time in milliseconds.';
comment on column audit.data_access_log.created_at is 'When the row was made; set by the server; also decides the partition.';

create table audit.security_metrics (
  id uuid not null default gen_random_uuid(),
  metric_name varchar(100) not null,
  metric_type varchar(50) not null,
  metric_value double precision not null,
  user_id integer,
  service_name varchar(50),
  time_window varchar(20) not null default '1h',
  tags jsonb,
  threshold_violated boolean not null default false,
  recorded_at timestamptz not null default now(),
  constraint security_metrics_pkey primary key (id, recorded_at)
) partition by range (recorded_at);

create table partitions.security_metrics_default partition of audit.security_metrics default;

create index ix_audit_security_metrics_metric_name on audit.security_metrics (metric_name);
create index ix_audit_security_metrics_metric_type on audit.security_metrics (metric_type);
create index ix_audit_security_metrics_recorded_at on audit.security_metrics (recorded_at);
create index ix_audit_security_metrics_service_name on audit.security_metrics (service_name);
create index ix_audit_security_metrics_user_id on audit.security_metrics (user_id);

grant select, insert on audit.security_metrics to app_user;
grant select on audit.security_metrics to app_readonly;

comment on table audit.security_metrics is
  'Security counters over time; partitioned by month of recorded_at, append-only for the application. Written by the metrics worker.';
comment on column audit.security_metrics.id is 'Key of the row; made by the server unless the application sends one.';
comment on column audit.security_metrics.metric_name is 'Name of the metric.';
comment on column audit.security_metrics.metric_type is 'Kind of metric.';
comment on column audit.security_metrics.metric_value is 'Value; its unit goes with the metric''s name.';
comment on column audit.security_metrics.user_id is 'User measured; null for the whole; without a foreign key, so that it outlives the user.';
comment on column audit.security_metrics.service_name is 'Service concerned.';
comment on column audit.security_metrics.time_window is 'Time the value covers, such as 1h.';
comment on column audit.security_metrics.tags is 'Further dimensions, as an object.';
comment on column audit.security_metrics.threshold_violated is 'Whether the value is out of bounds.';
comment on column audit.security_metrics.recorded_at is 'When it was measured; also decides the partition.';

-- With its owner's rights: an invoker would have to be allowed every column of the table, secrets as well.
create view public.audit_log as
select
  id,
  table_name,
  operation,
  user_id,
  session_id,
  row_id,
  old_values,
  new_values,
  changed_fields,
  ip_address,
  user_agent,
  application_name,
  transaction_id,
  query,
  security_context,
  created_at
from audit.audit_log;

revoke update, delete, truncate on public.audit_log from app_user;

revoke select on public.audit_log from app_readonly;
grant select (
  id, table_name, operation, user_id, row_id, old_values, new_values, changed_fields, ip_address, user_agent,
  application_name, transaction_id, query, security_context, created_at
) on public.audit_log to app_readonly;

comment on view public.audit_log is 'The schema report''s name for audit.audit_log; rows can be read and written through it.';

-- With its owner's rights: an invoker would have to be allowed every column of the table, secrets as well.
create view public.security_violations as
select
  id,
  violation_type,
  severity,
  user_id,
  session_id,
  table_name,
  attempted_operation,
  violation_details,
  ip_address,
  user_agent,
  blocked,
  resolved,
  resolution_notes,
  created_at,
  resolved_at
from audit.security_violations;

revoke select on public.security_violations from app_readonly;
grant select (
  id, violation_type, severity, user_id, table_name, attempted_operation, violation_details, ip_address, user_agent,
  blocked, resolved, resolution_notes, created_at, resolved_at
) on public.security_violations to app_readonly;

comment on view public.security_violations is 'The schema report''s name for audit.security_violations; rows can be read and written through it.';

-- With its owner's rights: an invoker would have to be allowed every column of the table, secrets as well.
create view public.data_access_log as
select
  id,
  user_id,
  service_name,
  access_type,
  table_name,
  row_count,
  sensitive_data_accessed,
  access_pattern,
  session_id,
  ip_address,
  response_time_ms,
  created_at
from audit.data_access_log;

revoke update, delete, truncate on public.data_access_log from app_user;

revoke select on public.data_access_log from app_readonly;
grant select (
  id, user_id, service_name, access_type, table_name, row_count, sensitive_data_accessed, access_pattern,
  ip_address, response_time_ms, created_at
) on public.data_access_log to app_readonly;

comment on view public.data_access_log is 'The schema report''s name for audit.data_access_log; rows can be read and written through it.';

create view public.security_metrics with (security_invoker = true) as
select
  id,
  metric_name,
  metric_type,
  metric_value,
  user_id,
  service_name,
  time_window,
  tags,
  threshold_violated,
  recorded_at
from audit.security_metrics;

revoke update, delete, truncate on public.security_metrics from app_user;

comment on view public.security_metrics is 'The schema report''s name for audit.security_metrics; rows can be read and written through it.';
