-- Phase: 4
-- Why: takes back the validation. A constraint can't be made not valid again, so each is replaced by its like; the
--   text is that of the migrations that added them.
-- Lock: ACCESS EXCLUSIVE on each table, to the end of the run: not valid skips the scan.

alter table public.users
  drop constraint users_email_format,
  add constraint users_email_format
  check (email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.users
  drop constraint users_web_search_provider_known,
  add constraint users_web_search_provider_known
  check (web_search_provider in ('tavily', 'serpapi', 'disabled')) not valid;

alter table public.system_prompts
  drop constraint system_prompts_usage_count_not_negative,
  add constraint system_prompts_usage_count_not_negative
  check (usage_count >= 0) not valid;

alter table public.system_prompts
  drop constraint system_prompts_default_has_no_user,
  add constraint system_prompts_default_has_no_user
  check (not is_factory_default or user_id is null) not valid;

alter table public.user_history_summaries
  drop constraint user_history_summaries_period_end_not_before_period_start,
  add constraint user_history_summaries_period_end_not_before_period_start
  check (period_end >= period_start) not valid;

alter table public.user_history_summaries
  drop constraint user_history_summaries_summary_period_known,
  add constraint user_history_summaries_summary_period_known
  check (summary_period in ('weekly', 'monthly', 'all_time')) not valid;

alter table public.user_history_summaries
  drop constraint user_history_summaries_complexity_preference_known,
  add constraint user_history_summaries_complexity_preference_known
  check (complexity_preference in ('low', 'medium', 'high')) not valid;

alter table public.registered_devices
  drop constraint registered_devices_remember_expires_at_after_start,
  add constraint registered_devices_remember_expires_at_after_start
  check (remember_expires_at is null or remember_expires_at > first_seen_at) not valid;

alter table public.user_two_factor_auth
  drop constraint user_two_factor_auth_recovery_email_format,
  add constraint user_two_factor_auth_recovery_email_format
  check (recovery_email is null or recovery_email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.user_two_factor_auth
  drop constraint user_two_factor_auth_recovery_phone_format,
  add constraint user_two_factor_auth_recovery_phone_format
  check (recovery_phone is null or recovery_phone ~ '^\+?[1-9]\d{1,14}$') not valid;

alter table public.passkey_credentials
  drop constraint passkey_credentials_sign_count_not_negative,
  add constraint passkey_credentials_sign_count_not_negative
  check (sign_count >= 0) not valid;

alter table public.two_factor_challenges
  drop constraint two_factor_challenges_expires_at_after_start,
  add constraint two_factor_challenges_expires_at_after_start
  check (expires_at > created_at) not valid;

alter table public.access_requests
  drop constraint access_requests_email_format,
  add constraint access_requests_email_format
  check (email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.access_requests
  drop constraint access_requests_expires_at_after_start,
  add constraint access_requests_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.user_sms_two_factor
  drop constraint user_sms_two_factor_phone_number_format,
  add constraint user_sms_two_factor_phone_number_format
  check (phone_number ~ '^\+?[1-9]\d{1,14}$') not valid;

alter table public.user_sms_two_factor
  drop constraint user_sms_two_factor_country_code_format,
  add constraint user_sms_two_factor_country_code_format
  check (country_code ~ '^\+?[0-9]{1,4}$') not valid;

alter table public.user_email_two_factor
  drop constraint user_email_two_factor_email_address_format,
  add constraint user_email_two_factor_email_address_format
  check (email_address ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.two_factor_verification_codes
  drop constraint two_factor_verification_codes_expires_at_after_start,
  add constraint two_factor_verification_codes_expires_at_after_start
  check (expires_at > created_at) not valid;

alter table public.two_factor_verification_codes
  drop constraint two_factor_verification_codes_method_type_known,
  add constraint two_factor_verification_codes_method_type_known
  check (method_type in ('sms', 'email')) not valid;

alter table public.two_factor_verification_codes
  drop constraint two_factor_verification_codes_attempt_count_not_negative,
  add constraint two_factor_verification_codes_attempt_count_not_negative
  check (attempt_count >= 0) not valid;

alter table public.user_two_factor_grace_periods
  drop constraint user_two_factor_grace_periods_end_date_not_before_start_date,
  add constraint user_two_factor_grace_periods_end_date_not_before_start_date
  check (end_date >= start_date) not valid;

alter table public.two_factor_admin_overrides
  drop constraint two_factor_admin_overrides_end_time_not_before_start_time,
  add constraint two_factor_admin_overrides_end_time_not_before_start_time
  check (end_time >= start_time) not valid;

alter table public.two_factor_admin_overrides
  drop constraint two_factor_admin_overrides_override_type_known,
  add constraint two_factor_admin_overrides_override_type_known
  check (override_type in ('disable', 'bypass', 'extend_grace')) not valid;

alter table public.two_factor_compliance_reports
  drop constraint two_factor_compliance_reports_period_end_not_before_start,
  add constraint two_factor_compliance_reports_period_end_not_before_start
  check (period_end >= period_start) not valid;

alter table public.two_factor_compliance_reports
  drop constraint two_factor_compliance_reports_report_type_known,
  add constraint two_factor_compliance_reports_report_type_known
  check (report_type in ('daily', 'weekly', 'monthly')) not valid;

alter table public.user_two_factor_settings
  drop constraint user_two_factor_settings_notification_email_format,
  add constraint user_two_factor_settings_notification_email_format
  check (notification_email is null or notification_email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.secure_token_storage
  drop constraint secure_token_storage_expires_at_after_start,
  add constraint secure_token_storage_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.secure_token_storage
  drop constraint secure_token_storage_access_count_not_negative,
  add constraint secure_token_storage_access_count_not_negative
  check (access_count >= 0) not valid;

alter table public.authentication_sessions
  drop constraint authentication_sessions_expires_at_after_start,
  add constraint authentication_sessions_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.authentication_sessions
  drop constraint authentication_sessions_ended_at_not_before_created_at,
  add constraint authentication_sessions_ended_at_not_before_created_at
  check (ended_at is null or ended_at >= created_at) not valid;

alter table public.authentication_sessions
  drop constraint authentication_sessions_auth_state_known,
  add constraint authentication_sessions_auth_state_known
  check (auth_state in ('authenticated', 'refreshing', 'extending', 'expired')) not valid;

alter table public.authentication_sessions
  drop constraint authentication_sessions_extension_count_not_negative,
  add constraint authentication_sessions_extension_count_not_negative
  check (extension_count >= 0) not valid;

alter table public.session_warnings
  drop constraint session_warnings_expires_at_after_start,
  add constraint session_warnings_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.session_warnings
  drop constraint session_warnings_warning_type_known,
  add constraint session_warnings_warning_type_known
  check (warning_type in ('expiry_warning', 'activity_warning', 'security_warning')) not valid;

alter table public.session_warnings
  drop constraint session_warnings_severity_known,
  add constraint session_warnings_severity_known
  check (severity in ('info', 'warning', 'critical')) not valid;

alter table public.connection_health_metrics
  drop constraint connection_health_metrics_health_status_known,
  add constraint connection_health_metrics_health_status_known
  check (health_status in ('healthy', 'degraded', 'unhealthy', 'unknown')) not valid;

alter table public.auth_queue_operations
  drop constraint auth_queue_operations_completed_at_not_before_started_at,
  add constraint auth_queue_operations_completed_at_not_before_started_at
  check (completed_at is null or completed_at >= started_at) not valid;

alter table public.auth_queue_operations
  drop constraint auth_queue_operations_status_known,
  add constraint auth_queue_operations_status_known
  check (status in ('pending', 'in_progress', 'completed', 'failed', 'cancelled')) not valid;

alter table public.auth_queue_operations
  drop constraint auth_queue_operations_retry_count_not_negative,
  add constraint auth_queue_operations_retry_count_not_negative
  check (retry_count >= 0) not valid;

alter table public.security_actions
  drop constraint security_actions_expiration_after_start,
  add constraint security_actions_expiration_after_start
  check (expiration is null or expiration > created_at) not valid;

alter table public.security_requirements
  drop constraint security_requirements_expires_at_after_start,
  add constraint security_requirements_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.security_tier_policies
  drop constraint security_tier_policies_enforcement_level_known,
  add constraint security_tier_policies_enforcement_level_known
  check (enforcement_level in ('ADVISORY', 'MANDATORY', 'STRICT')) not valid;

alter table public.certificate_requests
  drop constraint certificate_requests_expires_at_after_start,
  add constraint certificate_requests_expires_at_after_start
  check (expires_at is null or expires_at > requested_at) not valid;

alter table public.certificate_requests
  drop constraint certificate_requests_request_type_known,
  add constraint certificate_requests_request_type_known
  check (request_type in ('CLIENT_CERT', 'SERVER_CERT', 'CA_CERT')) not valid;

alter table public.certificate_requests
  drop constraint certificate_requests_platform_known,
  add constraint certificate_requests_platform_known
  check (platform in ('windows', 'macos', 'linux', 'android', 'ios')) not valid;

alter table public.certificate_requests
  drop constraint certificate_requests_status_known,
  add constraint certificate_requests_status_known
  check (status in ('PENDING', 'PROCESSING', 'READY', 'DOWNLOADED', 'EXPIRED', 'REVOKED')) not valid;

alter table public.security_tier_upgrade_logs
  drop constraint security_tier_upgrade_logs_status_known,
  add constraint security_tier_upgrade_logs_status_known
  check (status in ('STARTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'CANCELLED')) not valid;

alter table public.security_tier_upgrade_logs
  drop constraint security_tier_upgrade_logs_upgrade_method_known,
  add constraint security_tier_upgrade_logs_upgrade_method_known
  check (upgrade_method in ('USER_INITIATED', 'ADMIN_REQUIRED', 'POLICY_ENFORCED', 'AUTO_UPGRADE')) not valid;

alter table public.security_tier_upgrade_logs
  drop constraint security_tier_upgrade_logs_progress_percentage_range,
  add constraint security_tier_upgrade_logs_progress_percentage_range
  check (progress_percentage between 0 and 100) not valid;

alter table public.cross_service_auth
  drop constraint cross_service_auth_expires_at_after_start,
  add constraint cross_service_auth_expires_at_after_start
  check (expires_at > issued_at) not valid;

alter table public.qdrant_access_control
  drop constraint qdrant_access_control_expires_at_after_start,
  add constraint qdrant_access_control_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.privacy_requests
  drop constraint privacy_requests_due_date_not_before_requested_at,
  add constraint privacy_requests_due_date_not_before_requested_at
  check (due_date >= requested_at) not valid;

alter table public.privacy_requests
  drop constraint privacy_requests_request_type_known,
  add constraint privacy_requests_request_type_known
  check (request_type in ('DATA_EXPORT', 'DATA_DELETION', 'DATA_RECTIFICATION', 'DATA_PORTABILITY')) not valid;

alter table public.privacy_requests
  drop constraint privacy_requests_status_known,
  add constraint privacy_requests_status_known
  check (status in ('PENDING', 'IN_PROGRESS', 'COMPLETED', 'REJECTED', 'CANCELLED')) not valid;

alter table public.data_retention_policies
  drop constraint data_retention_policies_period_positive,
  add constraint data_retention_policies_period_positive
  check (retention_period_days > 0) not valid;

alter table audit.enterprise_audit_events
  drop constraint enterprise_audit_event_event_outcome_known,
  add constraint enterprise_audit_event_event_outcome_known
  check (event_outcome in ('SUCCESS', 'FAILURE', 'ERROR', 'PARTIAL', 'BLOCKED')) not valid;

alter table audit.enterprise_audit_events
  drop constraint enterprise_audit_event_data_classification_known,
  add constraint enterprise_audit_event_data_classification_known
  check (data_classification in ('PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'RESTRICTED')) not valid;

alter table audit.threat_intelligence_events
  drop constraint threat_intelligence_event_last_seen_not_before_first_seen,
  add constraint threat_intelligence_event_last_seen_not_before_first_seen
  check (last_seen is null or last_seen >= first_seen) not valid;

alter table audit.threat_intelligence_events
  drop constraint threat_intelligence_event_status_known,
  add constraint threat_intelligence_event_status_known
  check (status in ('DETECTED', 'INVESTIGATING', 'CONTAINED', 'MITIGATED', 'CLOSED', 'FALSE_POSITIVE')) not valid;

alter table audit.threat_intelligence_events
  drop constraint threat_intelligence_event_business_impact_known,
  add constraint threat_intelligence_event_business_impact_known
  check (business_impact in ('NONE', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL')) not valid;

alter table audit.threat_intelligence_events
  drop constraint threat_intelligence_event_confidence_score_range,
  add constraint threat_intelligence_event_confidence_score_range
  check (confidence_score between 0 and 1) not valid;

alter table audit.threat_intelligence_events
  drop constraint threat_intelligence_event_false_positive_probability_range,
  add constraint threat_intelligence_event_false_positive_probability_range
  check (false_positive_probability between 0 and 1) not valid;

alter table public.compliance_assessments
  drop constraint compliance_assessment_assessment_method_known,
  add constraint compliance_assessment_assessment_method_known
  check (assessment_method in ('AUTOMATED', 'MANUAL', 'HYBRID')) not valid;

alter table public.compliance_assessments
  drop constraint compliance_assessment_overall_score_range,
  add constraint compliance_assessment_overall_score_range
  check (overall_score between 0 and 100) not valid;

alter table public.compliance_assessments
  drop constraint compliance_assessment_controls_add_up,
  add constraint compliance_assessment_controls_add_up
  check (passed_controls + failed_controls + not_applicable_controls <= total_controls) not valid;

alter table public.forensic_investigations
  drop constraint forensic_investigation_completed_not_before_started,
  add constraint forensic_investigation_completed_not_before_started
  check (investigation_completed is null or investigation_completed >= investigation_started) not valid;

alter table public.forensic_investigations
  drop constraint forensic_investigation_discovery_date_not_before_incident_date,
  add constraint forensic_investigation_discovery_date_not_before_incident_date
  check (discovery_date >= incident_date) not valid;

alter table public.forensic_investigations
  drop constraint forensic_investigation_case_type_known,
  add constraint forensic_investigation_case_type_known
  check (case_type in ('SECURITY_INCIDENT', 'DATA_BREACH', 'INSIDER_THREAT', 'COMPLIANCE_VIOLATION')) not valid;

alter table public.forensic_investigations
  drop constraint forensic_investigation_priority_known,
  add constraint forensic_investigation_priority_known
  check (priority in ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL', 'EMERGENCY')) not valid;

alter table public.forensic_investigations
  drop constraint forensic_investigation_status_known,
  add constraint forensic_investigation_status_known
  check (status in ('INITIATED', 'EVIDENCE_COLLECTION', 'ANALYSIS', 'REPORTING', 'CLOSED')) not valid;

alter table audit.data_retention_logs
  drop constraint data_retention_logs_retention_action_known,
  add constraint data_retention_logs_retention_action_known
  check (retention_action in ('ARCHIVE', 'DELETE', 'ANONYMIZE', 'PURGE')) not valid;

alter table audit.data_retention_logs
  drop constraint data_retention_logs_execution_status_known,
  add constraint data_retention_logs_execution_status_known
  check (execution_status in ('SUCCESS', 'FAILURE', 'PARTIAL', 'SKIPPED')) not valid;

alter table public.document_chunks
  drop constraint document_chunks_chunk_index_not_negative,
  add constraint document_chunks_chunk_index_not_negative
  check (chunk_index >= 0) not valid;

alter table public.tasks
  drop constraint tasks_completion_percentage_range,
  add constraint tasks_completion_percentage_range
  check (completion_percentage between 0 and 100) not valid;

alter table public.task_feedback
  drop constraint task_feedback_difficulty_range,
  add constraint task_feedback_difficulty_range
  check (difficulty between 1 and 10) not valid;

alter table public.task_feedback
  drop constraint task_feedback_energy_range,
  add constraint task_feedback_energy_range
  check (energy between 1 and 10) not valid;

alter table public.mission_interviews
  drop constraint mission_interviews_completed_at_not_before_created_at,
  add constraint mission_interviews_completed_at_not_before_created_at
  check (completed_at is null or completed_at >= created_at) not valid;

alter table public.semantic_insights
  drop constraint semantic_insights_confidence_score_range,
  add constraint semantic_insights_confidence_score_range
  check (confidence_score between 0 and 1) not valid;

alter table public.chat_messages
  drop constraint chat_messages_message_type_known,
  add constraint chat_messages_message_type_known
  check (message_type in ('human', 'ai', 'system')) not valid;

alter table public.chat_messages
  drop constraint chat_messages_confidence_score_range,
  add constraint chat_messages_confidence_score_range
  check (confidence_score between 0 and 1) not valid;

alter table public.chat_messages
  drop constraint chat_messages_message_order_not_negative,
  add constraint chat_messages_message_order_not_negative
  check (message_order >= 0) not valid;

alter table public.chat_session_summaries
  drop constraint chat_session_summaries_ended_at_not_before_started_at,
  add constraint chat_session_summaries_ended_at_not_before_started_at
  check (ended_at >= started_at) not valid;

alter table public.chat_session_summaries
  drop constraint chat_session_summaries_complexity_level_known,
  add constraint chat_session_summaries_complexity_level_known
  check (complexity_level in ('low', 'medium', 'high')) not valid;

alter table public.chat_session_summaries
  drop constraint chat_session_summaries_resolution_status_known,
  add constraint chat_session_summaries_resolution_status_known
  check (resolution_status in ('completed', 'partial', 'interrupted')) not valid;

alter table public.message_feedback
  drop constraint message_feedback_feedback_known,
  add constraint message_feedback_feedback_known
  check (feedback in ('up', 'down')) not valid;

alter table public.agent_configurations
  drop constraint agent_configuration_priority_level_range,
  add constraint agent_configuration_priority_level_range
  check (priority_level between 1 and 10) not valid;

alter table public.task_delegations
  drop constraint task_delegation_completed_at_not_before_started_at,
  add constraint task_delegation_completed_at_not_before_started_at
  check (completed_at is null or completed_at >= started_at) not valid;

alter table public.task_delegations
  drop constraint task_delegation_progress_percentage_range,
  add constraint task_delegation_progress_percentage_range
  check (progress_percentage between 0 and 100) not valid;

alter table public.multi_agent_conversations
  drop constraint multi_agent_conversation_completed_at_not_before_started_at,
  add constraint multi_agent_conversation_completed_at_not_before_started_at
  check (completed_at is null or completed_at >= started_at) not valid;

alter table public.multi_agent_conversations
  drop constraint multi_agent_conversation_overall_satisfaction_score_range,
  add constraint multi_agent_conversation_overall_satisfaction_score_range
  check (overall_satisfaction_score between 1 and 5) not valid;

alter table public.legacy_agent_configurations
  drop constraint legacy_agent_configurations_priority_range,
  add constraint legacy_agent_configurations_priority_range
  check (priority between 1 and 10) not valid;

alter table public.legacy_agent_metrics
  drop constraint legacy_agent_metrics_period_end_not_before_period_start,
  add constraint legacy_agent_metrics_period_end_not_before_period_start
  check (period_end >= period_start) not valid;

alter table public.chat_mode_sessions
  drop constraint chat_mode_sessions_ended_at_not_before_created_at,
  add constraint chat_mode_sessions_ended_at_not_before_created_at
  check (ended_at is null or ended_at >= created_at) not valid;

alter table public.router_decision_log
  drop constraint router_decision_log_confidence_score_range,
  add constraint router_decision_log_confidence_score_range
  check (confidence_score between 0 and 1) not valid;

alter table public.simple_chat_context
  drop constraint simple_chat_context_expires_at_after_start,
  add constraint simple_chat_context_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.simple_chat_context
  drop constraint simple_chat_context_access_level_known,
  add constraint simple_chat_context_access_level_known
  check (access_level in ('private', 'shared', 'public')) not valid;

alter table public.cross_service_memory_sync
  drop constraint cross_service_memory_sync_sync_type_known,
  add constraint cross_service_memory_sync_sync_type_known
  check (sync_type in ('context_transfer', 'knowledge_share', 'state_sync')) not valid;

alter table public.cross_service_memory_sync
  drop constraint cross_service_memory_sync_sync_status_known,
  add constraint cross_service_memory_sync_sync_status_known
  check (sync_status in ('pending', 'in_progress', 'completed', 'failed')) not valid;
