-- Phase: 4
-- Why: the tables that decide who gets in and what they may do leave a trail. Columns that change at every touch are
--   named in the trigger's arguments and make no entry by themselves.
-- Lock: SHARE ROW EXCLUSIVE on each table, to the end of the run: writes wait, reads do not.

create trigger users_record_change
  after insert or update or delete on public.users
  for each row execute function audit.record_change();
create trigger users_record_truncate
  after truncate on public.users
  for each statement execute function audit.record_change();

create trigger user_profiles_record_change
  after insert or update or delete on public.user_profiles
  for each row execute function audit.record_change();
create trigger user_profiles_record_truncate
  after truncate on public.user_profiles
  for each statement execute function audit.record_change();

create trigger registered_devices_record_change
  after insert or update or delete on public.registered_devices
  for each row execute function audit.record_change('last_seen_at', 'last_ip_address', 'location_info');
create trigger registered_devices_record_truncate
  after truncate on public.registered_devices
  for each statement execute function audit.record_change();

create trigger user_two_factor_auth_record_change
  after insert or update or delete on public.user_two_factor_auth
  for each row execute function audit.record_change();
create trigger user_two_factor_auth_record_truncate
  after truncate on public.user_two_factor_auth
  for each statement execute function audit.record_change();

create trigger user_two_factor_settings_record_change
  after insert or update or delete on public.user_two_factor_settings
  for each row execute function audit.record_change();
create trigger user_two_factor_settings_record_truncate
  after truncate on public.user_two_factor_settings
  for each statement execute function audit.record_change();

create trigger passkey_credentials_record_change
  after insert or update or delete on public.passkey_credentials
  for each row execute function audit.record_change('sign_count', 'last_used_at');
create trigger passkey_credentials_record_truncate
  after truncate on public.passkey_credentials
  for each statement execute function audit.record_change();

create trigger user_sms_two_factor_record_change
  after insert or update or delete on public.user_sms_two_factor
  for each row execute function audit.record_change('daily_sms_count', 'daily_sms_reset_at', 'last_code_sent_at');
create trigger user_sms_two_factor_record_truncate
  after truncate on public.user_sms_two_factor
  for each statement execute function audit.record_change();

create trigger user_email_two_factor_record_change
  after insert or update or delete on public.user_email_two_factor
  for each row execute function audit.record_change('daily_email_count', 'daily_email_reset_at', 'last_code_sent_at');
create trigger user_email_two_factor_record_truncate
  after truncate on public.user_email_two_factor
  for each statement execute function audit.record_change();

create trigger two_factor_policies_record_change
  after insert or update or delete on public.two_factor_policies
  for each row execute function audit.record_change();
create trigger two_factor_policies_record_truncate
  after truncate on public.two_factor_policies
  for each statement execute function audit.record_change();

create trigger two_factor_admin_overrides_record_change
  after insert or update or delete on public.two_factor_admin_overrides
  for each row execute function audit.record_change();
create trigger two_factor_admin_overrides_record_truncate
  after truncate on public.two_factor_admin_overrides
  for each statement execute function audit.record_change();

create trigger user_two_factor_grace_periods_record_change
  after insert or update or delete on public.user_two_factor_grace_periods
  for each row execute function audit.record_change();
create trigger user_two_factor_grace_periods_record_truncate
  after truncate on public.user_two_factor_grace_periods
  for each statement execute function audit.record_change();

create trigger access_requests_record_change
  after insert or update or delete on public.access_requests
  for each row execute function audit.record_change();
create trigger access_requests_record_truncate
  after truncate on public.access_requests
  for each statement execute function audit.record_change();

create trigger authentication_sessions_record_change
  after insert or update or delete on public.authentication_sessions
  for each row execute function audit.record_change('last_activity_at');
create trigger authentication_sessions_record_truncate
  after truncate on public.authentication_sessions
  for each statement execute function audit.record_change();

create trigger secure_token_storage_record_change
  after insert or update or delete on public.secure_token_storage
  for each row execute function audit.record_change('last_accessed_at', 'access_count');
create trigger secure_token_storage_record_truncate
  after truncate on public.secure_token_storage
  for each statement execute function audit.record_change();

create trigger user_security_tiers_record_change
  after insert or update or delete on public.user_security_tiers
  for each row execute function audit.record_change();
create trigger user_security_tiers_record_truncate
  after truncate on public.user_security_tiers
  for each statement execute function audit.record_change();

create trigger security_requirements_record_change
  after insert or update or delete on public.security_requirements
  for each row execute function audit.record_change('last_validated_at');
create trigger security_requirements_record_truncate
  after truncate on public.security_requirements
  for each statement execute function audit.record_change();

create trigger security_tier_policies_record_change
  after insert or update or delete on public.security_tier_policies
  for each row execute function audit.record_change();
create trigger security_tier_policies_record_truncate
  after truncate on public.security_tier_policies
  for each statement execute function audit.record_change();

create trigger security_actions_record_change
  after insert or update or delete on public.security_actions
  for each row execute function audit.record_change();
create trigger security_actions_record_truncate
  after truncate on public.security_actions
  for each statement execute function audit.record_change();

create trigger certificate_requests_record_change
  after insert or update or delete on public.certificate_requests
  for each row execute function audit.record_change();
create trigger certificate_requests_record_truncate
  after truncate on public.certificate_requests
  for each statement execute function audit.record_change();

create trigger cross_service_auth_record_change
  after insert or update or delete on public.cross_service_auth
  for each row execute function audit.record_change('last_used_at');
create trigger cross_service_auth_record_truncate
  after truncate on public.cross_service_auth
  for each statement execute function audit.record_change();

create trigger qdrant_access_control_record_change
  after insert or update or delete on public.qdrant_access_control
  for each row execute function audit.record_change();
create trigger qdrant_access_control_record_truncate
  after truncate on public.qdrant_access_control
  for each statement execute function audit.record_change();

create trigger encrypted_fields_record_change
  after insert or update or delete on public.encrypted_fields
  for each row execute function audit.record_change();
create trigger encrypted_fields_record_truncate
  after truncate on public.encrypted_fields
  for each statement execute function audit.record_change();

create trigger user_oauth_tokens_record_change
  after insert or update or delete on public.user_oauth_tokens
  for each row execute function audit.record_change();
create trigger user_oauth_tokens_record_truncate
  after truncate on public.user_oauth_tokens
  for each statement execute function audit.record_change();

create trigger system_settings_record_change
  after insert or update or delete on public.system_settings
  for each row execute function audit.record_change();
create trigger system_settings_record_truncate
  after truncate on public.system_settings
  for each statement execute function audit.record_change();

create trigger privacy_requests_record_change
  after insert or update or delete on public.privacy_requests
  for each row execute function audit.record_change();
create trigger privacy_requests_record_truncate
  after truncate on public.privacy_requests
  for each statement execute function audit.record_change();

create trigger data_retention_policies_record_change
  after insert or update or delete on public.data_retention_policies
  for each row execute function audit.record_change('last_run_at');
create trigger data_retention_policies_record_truncate
  after truncate on public.data_retention_policies
  for each statement execute function audit.record_change();

create trigger compliance_assessments_record_change
  after insert or update or delete on public.compliance_assessments
  for each row execute function audit.record_change();
create trigger compliance_assessments_record_truncate
  after truncate on public.compliance_assessments
  for each statement execute function audit.record_change();

create trigger forensic_investigations_record_change
  after insert or update or delete on public.forensic_investigations
  for each row execute function audit.record_change();
create trigger forensic_investigations_record_truncate
  after truncate on public.forensic_investigations
  for each statement execute function audit.record_change();

-- Events, threats and violations are written once; they stay changeable, as the models change them, but no change goes
-- unseen.
create trigger enterprise_audit_events_record_change
  after update or delete on audit.enterprise_audit_events
  for each row execute function audit.record_change();
create trigger enterprise_audit_events_record_truncate
  after truncate on audit.enterprise_audit_events
  for each statement execute function audit.record_change();

create trigger threat_intelligence_events_record_change
  after update or delete on audit.threat_intelligence_events
  for each row execute function audit.record_change();
create trigger threat_intelligence_events_record_truncate
  after truncate on audit.threat_intelligence_events
  for each statement execute function audit.record_change();

create trigger security_violations_record_change
  after update or delete on audit.security_violations
  for each row execute function audit.record_change();
create trigger security_violations_record_truncate
  after truncate on audit.security_violations
  for each statement execute function audit.record_change();
