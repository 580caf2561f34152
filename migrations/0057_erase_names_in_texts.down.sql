-- Phase: 4
-- Why: takes back what erasure does in texts; what was erased stays erased.
-- Data loss: none; the deletions in the functions' bodies run only when somebody calls them.
-- Lock: none that anyone waits for: only the catalogue's rows of a view and of functions are written.

create or replace view privacy.user_data as
select
  step,
  table_name,
  relation,
  filter,
  on_erase,
  on_pseudonymise,
  scrub::jsonb as scrub
from (
  values
    -- What the user made; children before parents, so that each table counts its own rows.
    (1, 'public.events', 'subject',
      'calendar_id in (select id from public.calendars where user_id = $1)',
      'delete', 'scrub',
      '{"attendees": null, "location": null}'),
    (2, 'public.calendars', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (3, 'public.document_chunks', 'subject',
      'document_id in (select id from public.documents where user_id = $1)',
      'delete', 'keep', null),
    (4, 'public.documents', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (5, 'public.task_feedback', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (6, 'public.tasks', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (7, 'public.projects', 'subject',
      'user_id = $1',
      'delete', 'scrub',
      '{"repository_url": null, "local_path": null}'),
    (8, 'public.code_templates', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (9, 'public.user_categories', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (10, 'public.mission_interviews', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (11, 'public.semantic_insights', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (12, 'public.ai_analysis_history', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (13, 'public.system_prompts', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (14, 'public.user_history_summaries', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (15, 'public.agent_configurations', 'subject', 'user_id = $1', 'delete', 'keep', null),
    -- Conversations; most refer to their session by its text identifier only.
    (16, 'public.chat_history', 'subject',
      'session_id in (select privacy.chat_sessions_of($1))',
      'delete', 'keep', null),
    (17, 'public.message_feedback', 'subject',
      'session_id in (select privacy.chat_sessions_of($1))',
      'delete', 'keep', null),
    (18, 'public.session_state', 'subject',
      'session_id in (select privacy.chat_sessions_of($1))',
      'delete', 'keep', null),
    (19, 'public.router_decision_log', 'subject',
      'session_id in (select session_id from public.chat_mode_sessions where user_id = $1)',
      'delete', 'keep', null),
    (20, 'public.simple_chat_context', 'subject',
      'session_id in (select session_id from public.chat_mode_sessions where user_id = $1)',
      'delete', 'keep', null),
    (21, 'public.cross_service_memory_sync', 'subject',
      'source_session_id in (select session_id from public.chat_mode_sessions where user_id = $1) '
      'or target_session_id in (select session_id from public.chat_mode_sessions where user_id = $1)',
      'delete', 'keep', null),
    (22, 'public.chat_messages', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (23, 'public.chat_session_summaries', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (24, 'public.chat_mode_sessions', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (25, 'public.task_delegations', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (26, 'public.multi_agent_conversations', 'subject', 'user_id = $1', 'delete', 'keep', null),
    -- Who the user is and how they get in: a pseudonymised account cannot be logged into either.
    (27, 'public.user_profiles', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (28, 'public.user_oauth_tokens', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (29, 'public.session_warnings', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (30, 'public.secure_token_storage', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (31, 'public.auth_queue_operations', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (32, 'public.cross_service_auth', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (33, 'public.qdrant_access_control', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (34, 'public.encrypted_fields', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (35, 'public.certificate_requests', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (36, 'public.two_factor_challenges', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (37, 'public.two_factor_verification_codes', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (38, 'public.user_sms_two_factor', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (39, 'public.user_email_two_factor', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (40, 'public.user_two_factor_auth', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (41, 'public.user_two_factor_settings', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (42, 'public.user_two_factor_grace_periods', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (43, 'public.passkey_credentials', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (44, 'public.connection_health_metrics', 'subject',
      'user_id = $1',
      'scrub', 'scrub',
      '{"metrics_details": null}'),
    (45, 'public.authentication_sessions', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (46, 'public.access_requests', 'subject',
      'email = (select email from public.users where id = $1)',
      'delete', 'delete', null),
    -- Logs stay as proof, without what identifies a person or a device.
    (47, 'public.device_login_attempts', 'subject',
      'user_id = $1 or email = (select email from public.users where id = $1)',
      'scrub', 'scrub',
      '{
        "device_id": null, "email": "erased", "device_fingerprint": "", "ip_address": "0.0.0.0",
        "user_agent": ""
      }'),
    (48, 'public.two_factor_audit_log', 'subject',
      'user_id = $1',
      'scrub', 'scrub',
      '{
        "session_id": null, "device_fingerprint": null, "ip_address": null, "user_agent": null,
        "additional_data": null, "risk_factors": null
      }'),
    (49, 'public.registered_devices', 'subject', 'user_id = $1', 'delete', 'delete', null),
    (50, 'public.two_factor_admin_overrides', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (51, 'public.user_security_tiers', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (52, 'public.security_requirements', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (53, 'public.security_tier_upgrade_logs', 'subject', 'user_id = $1', 'delete', 'keep', null),
    (54, 'public.security_actions', 'subject',
      'target in (select unnest(array[username, email, id::text]) from public.users where id = $1)',
      'scrub', 'scrub',
      '{"target": "erased", "reason": "erased", "evidence": "{}", "execution_details": null, "error_message": null}'),
    (55, 'public.privacy_requests', 'subject',
      'user_id = $1',
      'scrub', 'scrub',
      '{"request_details": "{}", "data_export_path": null}'),
    (56, 'audit.security_violations', 'subject',
      'user_id = $1',
      'scrub', 'scrub',
      '{"session_id": null, "ip_address": null, "user_agent": null, "violation_details": "{}"}'),
    (57, 'audit.data_access_log', 'subject',
      'user_id = $1',
      'scrub', 'scrub',
      '{"session_id": null, "ip_address": null, "access_pattern": null}'),
    (58, 'audit.security_metrics', 'subject', 'user_id = $1', 'scrub', 'scrub', '{"tags": null}'),
    (59, 'audit.enterprise_audit_events', 'subject',
      'user_id = $1',
      'scrub', 'scrub',
      '{
        "session_id": null, "source_ip": null, "user_agent": null, "request_parameters": null,
        "response_data": null, "event_context": "{\"erased\": true}"
      }'),
    (60, 'audit.threat_intelligence_events', 'subject',
      'user_id = $1',
      'scrub', 'scrub',
      '{
        "source_ip": null, "attack_payload": null, "indicators_of_compromise": "{}", "threat_context": "{}"
      }'),
    -- Trails of rows that name the user without referring to them; before the account loses the names. Who is unknown to
    -- the trail was most likely the user, before they had logged in.
    (61, 'audit.audit_log', 'subject',
      'table_name in (''access_requests'', ''security_actions'') '
      'and (coalesce(old_values, new_values) ->> ''email'' = (select email from public.users where id = $1) '
      'or array[old_values ->> ''target'', new_values ->> ''target''] '
      '&& (select array[username::text, email::text, id::text] from public.users where id = $1)) and user_id is null',
      'scrub', 'scrub',
      '{"session_id": null, "ip_address": null, "user_agent": null}'),
    (62, 'audit.audit_log', 'subject',
      'table_name in (''access_requests'', ''security_actions'') '
      'and (coalesce(old_values, new_values) ->> ''email'' = (select email from public.users where id = $1) '
      'or array[old_values ->> ''target'', new_values ->> ''target''] '
      '&& (select array[username::text, email::text, id::text] from public.users where id = $1))',
      'scrub', 'scrub',
      '{"old_values": null, "new_values": null, "query": null}'),
    -- The account itself stays as a nameless row, as proofs refer to it.
    (63, 'public.users', 'subject',
      'id = $1',
      'scrub', 'scrub',
      '{
        "username": "erased-{uuid}", "email": "{uuid}@erased.invalid", "hashed_password": "!",
        "is_active": "false", "is_superuser": "false", "is_verified": "false", "status": "disabled",
        "tfa_enabled": "false", "tfa_secret": null, "timezone": null, "calendar_event_weights": null,
        "agent_settings": null, "mission_statement": null, "personal_goals": null,
        "work_style_preferences": null, "productivity_patterns": null, "interview_insights": null,
        "last_interview_date": null, "project_preferences": null, "default_code_style": null,
        "git_integrations": null, "web_search_api_key": null
      }'),
    -- Last, since what was done above is in it by now.
    (64, 'audit.audit_log', 'subject',
      'security_context ->> ''subject_user_id'' = $1::text',
      'scrub', 'scrub',
      '{"old_values": null, "new_values": null, "query": null}'),
    (65, 'audit.audit_log', 'subject',
      'security_context ->> ''subject_user_id'' = $1::text and user_id is null',
      'scrub', 'scrub',
      '{"session_id": null, "ip_address": null, "user_agent": null}'),
    (66, 'audit.audit_log', 'actor',
      'user_id = $1',
      'scrub', 'scrub',
      '{"session_id": null, "ip_address": null, "user_agent": null, "query": null}'),
    -- Where the user acted on others: the rows are not about the user, and lead to the nameless row from now on.
    (67, 'public.two_factor_policies', 'actor', 'created_by = $1', 'keep', 'keep', null),
    (68, 'public.two_factor_audit_log', 'actor', 'performed_by_admin = $1', 'keep', 'keep', null),
    (69, 'public.user_two_factor_grace_periods', 'actor', 'extended_by = $1', 'keep', 'keep', null),
    (70, 'public.two_factor_admin_overrides', 'actor', 'admin_user_id = $1', 'keep', 'keep', null),
    (71, 'public.two_factor_admin_overrides', 'actor', 'approved_by = $1', 'keep', 'keep', null),
    (72, 'public.two_factor_compliance_reports', 'actor', 'generated_by = $1', 'keep', 'keep', null),
    (73, 'public.security_actions', 'actor', 'created_by_user_id = $1', 'keep', 'keep', null),
    (74, 'public.security_tier_policies', 'actor', 'created_by_user_id = $1', 'keep', 'keep', null),
    (75, 'public.security_tier_policies', 'actor', 'approved_by_user_id = $1', 'keep', 'keep', null),
    (76, 'public.legacy_agent_configurations', 'actor', 'created_by_user_id = $1', 'keep', 'keep', null),
    (77, 'public.compliance_assessments', 'actor', 'assessor_id = $1', 'keep', 'keep', null),
    (78, 'public.compliance_assessments', 'actor', 'approved_by = $1', 'keep', 'keep', null),
    (79, 'public.forensic_investigations', 'actor', 'reported_by = $1', 'keep', 'keep', null),
    (80, 'public.forensic_investigations', 'actor', 'primary_investigator_id = $1', 'keep', 'keep', null),
    (81, 'audit.data_retention_logs', 'actor', 'executed_by = $1', 'keep', 'keep', null)
) as entry (step, table_name, relation, filter, on_erase, on_pseudonymise, scrub);

create or replace function privacy.remove_user(p_user_id integer, p_erase boolean, p_request_id uuid) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry record;
  v_action text;
  v_set text;
  v_rows bigint;
  v_counts jsonb := '{}';
  v_what text := case when p_erase then 'erased' else 'pseudonymised' end;
begin
  -- Locked, so that nobody logs in half-way.
  perform from public.users where id = p_user_id for update;
  if not found then
    raise exception 'There is no user %, so nothing can be %.', p_user_id, v_what
      using errcode = 'no_data_found', hint = 'The key is public.users.id.';
  end if;

  if exists (
    select
    from public.forensic_investigations
    where legal_hold and status <> 'CLOSED' and p_user_id = any (affected_users)
  ) then
    raise exception 'User % is under a legal hold and can''t be %.', p_user_id, v_what
      using
        errcode = 'object_in_use',
        detail = 'An open case in public.forensic_investigations names the user in affected_users.',
        hint = 'Close the case or lift its legal hold first.';
  end if;

  for v_entry in select * from privacy.user_data order by step loop
    v_action := case when p_erase then v_entry.on_erase else v_entry.on_pseudonymise end;
    continue when v_action = 'keep';

    if v_action = 'delete' then
      execute format('delete from %s where %s', v_entry.table_name, v_entry.filter) using p_user_id;
    else
      select string_agg(format('%I = %L', key, replace(value, '{uuid}', gen_random_uuid()::text)), ', ')
      into v_set
      from jsonb_each_text(v_entry.scrub);
      execute format('update %s set %s where %s', v_entry.table_name, v_set, v_entry.filter) using p_user_id;
    end if;
    get diagnostics v_rows = row_count;

    if v_rows > 0 then
      v_counts := v_counts || jsonb_build_object(
        v_entry.table_name, coalesce((v_counts ->> v_entry.table_name)::bigint, 0) + v_rows
      );
    end if;
  end loop;

  insert into audit.enterprise_audit_events (
    event_id, event_type, event_category, event_severity, event_timestamp, user_id, service_name, event_description,
    event_outcome, affected_resources, event_context, compliance_relevant, compliance_standards
  )
  values (
    gen_random_uuid()::text,
    case when p_erase then 'USER_ERASED' else 'USER_PSEUDONYMISED' end,
    'COMPLIANCE_EVENT',
    'MEDIUM',
    now(),
    p_user_id,
    case when p_erase then 'privacy.erase_user' else 'privacy.pseudonymise_user' end,
    format('The data of user %s was %s.', p_user_id, v_what),
    'SUCCESS',
    array(select jsonb_object_keys(v_counts)),
    jsonb_strip_nulls(jsonb_build_object('rows', v_counts, 'request_id', p_request_id, 'db_role', session_user)),
    true,
    array['GDPR']
  );

  return jsonb_build_object('user_id', p_user_id, 'action', v_what, 'rows', v_counts);
end
$$;

comment on function privacy.erase_user(integer, uuid) is
  'Deletes what is about a user, scrubs the logs that stay as proof, and leaves a nameless row in users. Returns the rows touched per table; leaves an event in audit.enterprise_audit_events. Refused under a legal hold.';
comment on function privacy.pseudonymise_user(integer, uuid) is
  'Like privacy.erase_user, but keeps what the user made: only names, addresses, devices and credentials go. Texts are not searched for names.';
