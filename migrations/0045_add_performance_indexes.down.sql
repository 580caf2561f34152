-- Phase: 4
-- Why: takes back the indexes; queries get slower, nothing is lost.
-- Lock: ACCESS EXCLUSIVE on each table, for milliseconds.

drop index public.idx_privacy_requests_pending;
drop index audit.idx_security_metrics_name_time;
drop index audit.idx_data_access_log_sensitive_time;
drop index audit.idx_data_access_log_user_service_time;
drop index audit.idx_security_violations_user_severity_time;
drop index audit.idx_security_violations_unresolved;
drop index audit.audit_log_subject_user_id_idx;
drop index audit.audit_log_table_name_row_id_idx;
drop index audit.idx_audit_log_table_operation_time;
drop index audit.idx_audit_log_user_created_time;
drop index public.idx_session_state_updated;
drop index public.idx_chat_session_summaries_user_ended;
drop index public.idx_chat_messages_session_order;
drop index public.idx_chat_history_session_created;
drop index public.idx_tasks_user_status_priority_due;
drop index public.user_oauth_tokens_service_token_expiry_idx;
drop index public.idx_documents_status_created;
drop index public.idx_events_time_range;
drop index public.idx_events_calendar_time;
drop index public.idx_security_actions_active_expires;
drop index public.auth_queue_operations_pending_idx;
drop index public.secure_token_storage_expires_at_idx;
drop index public.authentication_sessions_expires_at_idx;
drop index public.authentication_sessions_user_id_last_activity_at_idx;
drop index public.ix_two_factor_verification_codes_expires_at;
drop index public.idx_two_factor_challenges_expires;
drop index public.ix_user_two_factor_grace_periods_end_date;
drop index public.ix_two_factor_audit_log_created_at;
drop index public.idx_device_login_attempts_ip;
drop index public.idx_device_login_attempts_email_time;
drop index public.idx_users_status_created;
