-- Phase: 4
-- Why: a default for every table that grows by itself; administrators change the days or switch a policy off. What a user
--   made (calendars, documents, tasks, conversations) has no policy: it goes with the user or by their request.
-- Lock: none that anyone waits for.

-- is_default marks the rows for the way back. A table that has a policy already keeps its own.
insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
select
  seed.table_name,
  seed.days,
  seed.policy_type::public.retentionpolicytype,
  jsonb_strip_nulls(jsonb_build_object(
    'column', seed.age_column, 'legal_basis', seed.legal_basis, 'reason', seed.reason, 'is_default', true
  )) || coalesce(seed.more, '{}')
from (
  values
    ('audit_log', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(c)', 'Proof of changes for two annual audits', null::jsonb),
    ('security_violations', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks', null),
    ('data_access_log', 365, 'DELETE', 'created_at', 'GDPR Art. 6(1)(c)', 'Proof of access for one annual audit', null),
    ('security_metrics', 180, 'DELETE', 'recorded_at', 'GDPR Art. 6(1)(f)', 'Trends over half a year', null),
    ('two_factor_audit_log', 365, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Disputes about logins', null),
    ('device_login_attempts', 180, 'DELETE', 'attempted_at', 'GDPR Art. 6(1)(f)', 'Defence against guessed passwords', null),
    ('connection_health_metrics', 30, 'DELETE', 'recorded_at', 'GDPR Art. 6(1)(f)', 'Fault finding', null),
    ('router_decision_log', 180, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Quality of routing', null),
    ('two_factor_challenges', 7, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
    ('two_factor_verification_codes', 7, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
    ('secure_token_storage', 30, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
    -- Without an end of their own they go when nobody has used them for long.
    ('secure_token_storage', 365, 'DELETE', 'last_accessed_at', 'GDPR Art. 5(1)(e)', 'Unused for a year',
      '{"match": {"expires_at": null}}'),
    ('secure_token_storage', 365, 'DELETE', 'created_at', 'GDPR Art. 5(1)(e)', 'Unused for a year',
      '{"match": {"expires_at": null, "last_accessed_at": null}}'),
    ('cross_service_auth', 90, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
    ('authentication_sessions', 180, 'DELETE', 'expires_at', 'GDPR Art. 6(1)(f)', 'Disputes about logins', null),
    ('authentication_sessions', 365, 'DELETE', 'last_activity_at', 'GDPR Art. 5(1)(e)', 'Unused for a year',
      '{"match": {"expires_at": null}}'),
    ('session_warnings', 90, 'DELETE', 'created_at', 'GDPR Art. 5(1)(e)', 'Useless once the session is over', null),
    ('auth_queue_operations', 30, 'DELETE', 'completed_at', 'GDPR Art. 5(1)(e)', 'Useless once done', null),
    ('auth_queue_operations', 90, 'DELETE', 'created_at', 'GDPR Art. 5(1)(e)', 'Never done, and nobody waits for it any more',
      '{"match": {"completed_at": null}}'),
    ('access_requests', 365, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Who was let in, for one annual audit', null),
    ('simple_chat_context', 1, 'DELETE', 'expires_at', 'GDPR Art. 5(1)(e)', 'Useless once expired', null),
    ('session_state', 90, 'DELETE', 'updated_at', 'GDPR Art. 5(1)(e)', 'Nobody resumes older conversations', null),
    ('registered_devices', 365, 'ANONYMIZE', 'last_seen_at', 'GDPR Art. 5(1)(c)', 'The device matters, its place does not',
      '{"set": {"last_ip_address": null, "location_info": null}}'),
    -- Measures in force stay, however old.
    ('security_actions', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks',
      '{"match": {"status": "EXPIRED"}}'),
    ('security_actions', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks',
      '{"match": {"status": "REVOKED"}}'),
    ('security_actions', 730, 'DELETE', 'created_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks',
      '{"match": {"status": "FAILED"}}'),
    ('security_tier_upgrade_logs', 730, 'DELETE', 'started_at', 'GDPR Art. 6(1)(c)', 'Who got which rights, for two annual audits', null),
    ('threat_intelligence_events', 730, 'DELETE', 'detected_at', 'GDPR Art. 6(1)(f)', 'Defence against repeated attacks', null),
    ('enterprise_audit_events', 2555, 'DELETE', 'event_timestamp', 'GDPR Art. 6(1)(c)', 'Seven years, as SOX asks', null),
    ('data_retention_logs', 2555, 'DELETE', 'executed_at', 'GDPR Art. 5(2)', 'Accountability for as long as the events', null)
) as seed (table_name, days, policy_type, age_column, legal_basis, reason, more)
where not exists (
  select from public.data_retention_policies as policy where policy.table_name = seed.table_name
);
