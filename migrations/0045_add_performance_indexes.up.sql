-- Phase: 4
-- Why: one index per named query of the application that had none; the query is written above its index. The other
--   indexes of the old revisions repeat these or serve no known query (docs/schema-decisions.md).
-- Lock: SHARE on each table while its index is built: writes wait, reads do not. On tables with many millions of rows
--   build the index beforehand with create index concurrently under the same name, which is then left as it is.

-- All pending migrations run in one transaction, where concurrently is not allowed.
-- squawk-ignore-file require-concurrent-index-creation

-- Authentication

-- Accounts that wait for approval, oldest first.
create index if not exists idx_users_status_created
on public.users (status, created_at);

-- Failed attempts for an address in the last minutes, before a password is even checked.
create index if not exists idx_device_login_attempts_email_time
on public.device_login_attempts (email, attempted_at);

-- The same for a client's address.
create index if not exists idx_device_login_attempts_ip
on public.device_login_attempts (ip_address, attempted_at);

-- Second-factor events of a period, for the compliance report.
create index if not exists ix_two_factor_audit_log_created_at
on public.two_factor_audit_log (created_at);

-- Grace periods about to end, for the warnings.
create index if not exists ix_user_two_factor_grace_periods_end_date
on public.user_two_factor_grace_periods (end_date);

-- Expired prompts and codes, for retention.
create index if not exists idx_two_factor_challenges_expires
on public.two_factor_challenges (expires_at);

-- Expired prompts and codes, for retention.
create index if not exists ix_two_factor_verification_codes_expires_at
on public.two_factor_verification_codes (expires_at);

-- Sessions and tokens

-- A user's open sessions, latest first; at every login and on the security page.
create index if not exists authentication_sessions_user_id_last_activity_at_idx
on public.authentication_sessions (user_id, last_activity_at desc) where is_active;

-- Sessions that have run out, for the session service and for retention.
create index if not exists authentication_sessions_expires_at_idx
on public.authentication_sessions (expires_at);

-- Tokens that have run out, for retention.
create index if not exists secure_token_storage_expires_at_idx
on public.secure_token_storage (expires_at);

-- Next work of the queue; partial, as almost every row is done.
create index if not exists auth_queue_operations_pending_idx
on public.auth_queue_operations (priority, created_at) where status = 'pending';

-- Measures in force that end by themselves. The old revision spelt the label in lower case.
create index if not exists idx_security_actions_active_expires
on public.security_actions (status, expiration) where status = 'ACTIVE' and expiration is not null;

-- Calendar, documents, OAuth by service

-- Entries of a calendar in a time range; the calendar page.
create index if not exists idx_events_calendar_time
on public.events (calendar_id, start_time, end_time);

-- Entries of all calendars in a time range; the reminders.
create index if not exists idx_events_time_range
on public.events (start_time, end_time, calendar_id);

-- Files waiting for the document worker, oldest first.
create index if not exists idx_documents_status_created
on public.documents (status, created_at);

-- Tokens of a service about to expire, for the refresher; a user's token of a service has the unique key.
create index if not exists user_oauth_tokens_service_token_expiry_idx
on public.user_oauth_tokens (service, token_expiry);

-- Tasks and conversations

-- A user's tasks by state, most urgent first.
create index if not exists idx_tasks_user_status_priority_due
on public.tasks (user_id, status, priority, due_date);

-- A conversation in its order.
create index if not exists idx_chat_history_session_created
on public.chat_history (session_id, created_at);

-- A conversation in its order.
create index if not exists idx_chat_messages_session_order
on public.chat_messages (session_id, message_order);

-- A user's latest conversations.
create index if not exists idx_chat_session_summaries_user_ended
on public.chat_session_summaries (user_id, ended_at);

-- State nobody has touched for long, for retention.
create index if not exists idx_session_state_updated
on public.session_state (updated_at);

-- Audit and compliance

-- What a user changed, latest first.
create index if not exists idx_audit_log_user_created_time
on audit.audit_log (user_id, created_at);

-- Changes of a kind to a table in a period.
create index if not exists idx_audit_log_table_operation_time
on audit.audit_log (table_name, operation, created_at);

-- History of one row.
create index if not exists audit_log_table_name_row_id_idx
on audit.audit_log (table_name, row_id);

-- Changes to a user's rows, for export and erasure, which would read the whole trail otherwise.
create index if not exists audit_log_subject_user_id_idx
on audit.audit_log ((security_context ->> 'subject_user_id'));

-- Violations nobody has dealt with, worst first.
create index if not exists idx_security_violations_unresolved
on audit.security_violations (resolved, severity, created_at) where resolved = false;

-- Violations of a user in a period.
create index if not exists idx_security_violations_user_severity_time
on audit.security_violations (user_id, severity, created_at);

-- What a service read about a user in a period.
create index if not exists idx_data_access_log_user_service_time
on audit.data_access_log (user_id, service_name, created_at);

-- Reads of sensitive data in a period; partial, as most reads are not.
create index if not exists idx_data_access_log_sensitive_time
on audit.data_access_log (sensitive_data_accessed, user_id, created_at) where sensitive_data_accessed = true;

-- Course of a metric.
create index if not exists idx_security_metrics_name_time
on audit.security_metrics (metric_name, recorded_at);

-- Open requests of data subjects by due date.
create index if not exists idx_privacy_requests_pending
on public.privacy_requests (status, due_date) where status in ('PENDING', 'IN_PROGRESS');

-- Retention: each batch looks for the oldest rows. Where the age may be null, those rows have a policy of their own.

create index if not exists session_warnings_created_at_idx
on public.session_warnings (created_at);

create index if not exists auth_queue_operations_completed_at_idx
on public.auth_queue_operations (completed_at);

create index if not exists auth_queue_operations_created_at_idx
on public.auth_queue_operations (created_at) where completed_at is null;

create index if not exists authentication_sessions_last_activity_at_idx
on public.authentication_sessions (last_activity_at) where expires_at is null;

create index if not exists secure_token_storage_last_accessed_at_idx
on public.secure_token_storage (last_accessed_at) where expires_at is null;

create index if not exists secure_token_storage_created_at_idx
on public.secure_token_storage (created_at) where expires_at is null;

create index if not exists access_requests_created_at_idx
on public.access_requests (created_at);

create index if not exists registered_devices_last_seen_at_idx
on public.registered_devices (last_seen_at);

create index if not exists security_tier_upgrade_logs_started_at_idx
on public.security_tier_upgrade_logs (started_at);
