-- Phase: 2
-- Why: wrong values are refused from now on. device_login_attempts.email has no format check, as it records what
--   was typed.
-- Lock: ACCESS EXCLUSIVE on each table, to the end of the run: not valid skips the scan of the rows already there.

alter table public.registered_devices
  add constraint registered_devices_remember_expires_at_after_start
  check (remember_expires_at is null or remember_expires_at > first_seen_at) not valid;

alter table public.user_two_factor_auth
  add constraint user_two_factor_auth_recovery_email_format
  check (recovery_email is null or recovery_email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.user_two_factor_auth
  add constraint user_two_factor_auth_recovery_phone_format
  check (recovery_phone is null or recovery_phone ~ '^\+?[1-9]\d{1,14}$') not valid;

alter table public.passkey_credentials
  add constraint passkey_credentials_sign_count_not_negative
  check (sign_count >= 0) not valid;

alter table public.two_factor_challenges
  add constraint two_factor_challenges_expires_at_after_start
  check (expires_at > created_at) not valid;

alter table public.access_requests
  add constraint access_requests_email_format
  check (email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.access_requests
  add constraint access_requests_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.user_sms_two_factor
  add constraint user_sms_two_factor_phone_number_format
  check (phone_number ~ '^\+?[1-9]\d{1,14}$') not valid;

alter table public.user_sms_two_factor
  add constraint user_sms_two_factor_country_code_format
  check (country_code ~ '^\+?[0-9]{1,4}$') not valid;

alter table public.user_email_two_factor
  add constraint user_email_two_factor_email_address_format
  check (email_address ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.two_factor_verification_codes
  add constraint two_factor_verification_codes_expires_at_after_start
  check (expires_at > created_at) not valid;

alter table public.two_factor_verification_codes
  add constraint two_factor_verification_codes_method_type_known
  check (method_type in ('sms', 'email')) not valid;

alter table public.two_factor_verification_codes
  add constraint two_factor_verification_codes_attempt_count_not_negative
  check (attempt_count >= 0) not valid;

alter table public.user_two_factor_grace_periods
  add constraint user_two_factor_grace_periods_end_date_not_before_start_date
  check (end_date >= start_date) not valid;

alter table public.two_factor_admin_overrides
  add constraint two_factor_admin_overrides_end_time_not_before_start_time
  check (end_time >= start_time) not valid;

alter table public.two_factor_admin_overrides
  add constraint two_factor_admin_overrides_override_type_known
  check (override_type in ('disable', 'bypass', 'extend_grace')) not valid;

alter table public.two_factor_compliance_reports
  add constraint two_factor_compliance_reports_period_end_not_before_start
  check (period_end >= period_start) not valid;

alter table public.two_factor_compliance_reports
  add constraint two_factor_compliance_reports_report_type_known
  check (report_type in ('daily', 'weekly', 'monthly')) not valid;

alter table public.user_two_factor_settings
  add constraint user_two_factor_settings_notification_email_format
  check (notification_email is null or notification_email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.secure_token_storage
  add constraint secure_token_storage_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.secure_token_storage
  add constraint secure_token_storage_access_count_not_negative
  check (access_count >= 0) not valid;

alter table public.authentication_sessions
  add constraint authentication_sessions_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.authentication_sessions
  add constraint authentication_sessions_ended_at_not_before_created_at
  check (ended_at is null or ended_at >= created_at) not valid;

alter table public.authentication_sessions
  add constraint authentication_sessions_auth_state_known
  check (auth_state in ('authenticated', 'refreshing', 'extending', 'expired')) not valid;

alter table public.authentication_sessions
  add constraint authentication_sessions_extension_count_not_negative
  check (extension_count >= 0) not valid;

alter table public.session_warnings
  add constraint session_warnings_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.session_warnings
  add constraint session_warnings_warning_type_known
  check (warning_type in ('expiry_warning', 'activity_warning', 'security_warning')) not valid;

alter table public.session_warnings
  add constraint session_warnings_severity_known
  check (severity in ('info', 'warning', 'critical')) not valid;

alter table public.connection_health_metrics
  add constraint connection_health_metrics_health_status_known
  check (health_status in ('healthy', 'degraded', 'unhealthy', 'unknown')) not valid;

alter table public.auth_queue_operations
  add constraint auth_queue_operations_completed_at_not_before_started_at
  check (completed_at is null or completed_at >= started_at) not valid;

alter table public.auth_queue_operations
  add constraint auth_queue_operations_status_known
  check (status in ('pending', 'in_progress', 'completed', 'failed', 'cancelled')) not valid;

alter table public.auth_queue_operations
  add constraint auth_queue_operations_retry_count_not_negative
  check (retry_count >= 0) not valid;

alter table public.security_actions
  add constraint security_actions_expiration_after_start
  check (expiration is null or expiration > created_at) not valid;

alter table public.security_requirements
  add constraint security_requirements_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.security_tier_policies
  add constraint security_tier_policies_enforcement_level_known
  check (enforcement_level in ('ADVISORY', 'MANDATORY', 'STRICT')) not valid;

alter table public.certificate_requests
  add constraint certificate_requests_expires_at_after_start
  check (expires_at is null or expires_at > requested_at) not valid;

alter table public.certificate_requests
  add constraint certificate_requests_request_type_known
  check (request_type in ('CLIENT_CERT', 'SERVER_CERT', 'CA_CERT')) not valid;

alter table public.certificate_requests
  add constraint certificate_requests_platform_known
  check (platform in ('windows', 'macos', 'linux', 'android', 'ios')) not valid;

alter table public.certificate_requests
  add constraint certificate_requests_status_known
  check (status in ('PENDING', 'PROCESSING', 'READY', 'DOWNLOADED', 'EXPIRED', 'REVOKED')) not valid;

alter table public.security_tier_upgrade_logs
  add constraint security_tier_upgrade_logs_status_known
  check (status in ('STARTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'CANCELLED')) not valid;

alter table public.security_tier_upgrade_logs
  add constraint security_tier_upgrade_logs_upgrade_method_known
  check (upgrade_method in ('USER_INITIATED', 'ADMIN_REQUIRED', 'POLICY_ENFORCED', 'AUTO_UPGRADE')) not valid;

alter table public.security_tier_upgrade_logs
  add constraint security_tier_upgrade_logs_progress_percentage_range
  check (progress_percentage between 0 and 100) not valid;

alter table public.cross_service_auth
  add constraint cross_service_auth_expires_at_after_start
  check (expires_at > issued_at) not valid;

alter table public.qdrant_access_control
  add constraint qdrant_access_control_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;
