-- Phase: 4
-- Why: event trail, threats, assessments and investigations. The first two have unique business keys over all time,
--   so they are not partitioned.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.auditeventcategory as enum (
  'AUTHENTICATION', 'AUTHORIZATION', 'DATA_ACCESS', 'DATA_MODIFICATION', 'SYSTEM_ADMINISTRATION', 'SECURITY_EVENT',
  'COMPLIANCE_EVENT', 'USER_MANAGEMENT', 'POLICY_ENFORCEMENT'
);
create type public.auditeventseverity as enum ('INFORMATIONAL', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL');
create type public.threattype as enum (
  'BRUTE_FORCE', 'PRIVILEGE_ESCALATION', 'DATA_EXFILTRATION', 'MALWARE_DETECTION', 'SUSPICIOUS_LOGIN',
  'INSIDER_THREAT', 'PHISHING_ATTEMPT', 'SQL_INJECTION', 'XSS_ATTACK', 'DDOS_ATTACK'
);
create type public.compliancestandard as enum ('SOX', 'HIPAA', 'GDPR', 'ISO27001', 'PCI_DSS', 'NIST', 'CCPA');
create type public.compliancestatus as enum (
  'COMPLIANT', 'NON_COMPLIANT', 'PARTIAL_COMPLIANT', 'UNDER_REVIEW', 'EXEMPT'
);

create table audit.enterprise_audit_events (
  id uuid not null default gen_random_uuid(),
  event_id varchar(64) not null,
  event_type varchar(100) not null,
  event_category public.auditeventcategory not null,
  event_severity public.auditeventseverity not null,
  event_timestamp timestamptz not null,
  processing_timestamp timestamptz not null default now(),
  user_id integer,
  session_id varchar(255),
  service_name varchar(100) not null,
  component_name varchar(100),
  source_ip inet,
  user_agent text,
  request_id varchar(100),
  event_description text not null,
  event_outcome varchar(20) not null,
  affected_resources varchar[],
  data_classification varchar(20),
  event_context jsonb not null default '{}',
  request_parameters jsonb,
  response_data jsonb,
  compliance_relevant boolean not null default false,
  compliance_standards varchar[],
  retention_until timestamptz,
  response_time_ms integer,
  data_volume_bytes bigint,
  risk_score double precision,
  risk_factors varchar[],
  hash_value varchar(128),
  previous_event_id varchar(64),
  digital_signature text,
  constraint enterprise_audit_events_pkey primary key (id),
  constraint enterprise_audit_events_user_id_fkey foreign key (user_id) references public.users (id)
    on delete set null
);

create index idx_enterprise_audit_category on audit.enterprise_audit_events (event_category);
create index idx_enterprise_audit_compliance on audit.enterprise_audit_events (compliance_relevant);
create index idx_enterprise_audit_ip on audit.enterprise_audit_events (source_ip);
create index idx_enterprise_audit_severity on audit.enterprise_audit_events (event_severity);
create index idx_enterprise_audit_timestamp on audit.enterprise_audit_events (event_timestamp);
create index idx_enterprise_audit_user on audit.enterprise_audit_events (user_id);
create index ix_audit_enterprise_audit_events_data_classification on audit.enterprise_audit_events (data_classification);
create unique index ix_audit_enterprise_audit_events_event_id on audit.enterprise_audit_events (event_id);
create index ix_audit_enterprise_audit_events_event_outcome on audit.enterprise_audit_events (event_outcome);
create index ix_audit_enterprise_audit_events_event_type on audit.enterprise_audit_events (event_type);
create index ix_audit_enterprise_audit_events_request_id on audit.enterprise_audit_events (request_id);
create index ix_audit_enterprise_audit_events_service_name on audit.enterprise_audit_events (service_name);
create index ix_audit_enterprise_audit_events_session_id on audit.enterprise_audit_events (session_id);

grant select, insert, update, delete on audit.enterprise_audit_events to app_user;
-- Secret: session_id. The read-only role gets the other columns by name, so a column added later is hidden from it
-- until somebody decides otherwise.
grant select (
  id, event_id, event_type, event_category, event_severity, event_timestamp, processing_timestamp, user_id,
  service_name, component_name, source_ip, user_agent, request_id, event_description, event_outcome,
  affected_resources, data_classification, event_context, request_parameters, response_data, compliance_relevant,
  compliance_standards, retention_until, response_time_ms, data_volume_bytes, risk_score, risk_factors, hash_value,
  previous_event_id, digital_signature
) on audit.enterprise_audit_events to app_readonly;

comment on table audit.enterprise_audit_events is
  'Compliance-grade event trail with a hash chain; not partitioned, as event_id is unique over all time. Written by the audit service; every later change is itself in audit_log.';
comment on column audit.enterprise_audit_events.id is 'Key of the row; made by the server unless the application sends one.';
comment on column audit.enterprise_audit_events.event_id is 'Identifier the application gives to the event, unique.';
comment on column audit.enterprise_audit_events.event_type is 'Kind of event.';
comment on column audit.enterprise_audit_events.event_category is 'Area the event belongs to.';
comment on column audit.enterprise_audit_events.event_severity is 'How serious the event is.';
comment on column audit.enterprise_audit_events.event_timestamp is 'When it happened, by the application''s clock.';
comment on column audit.enterprise_audit_events.processing_timestamp is 'When it was recorded; set by the server.';
comment on column audit.enterprise_audit_events.user_id is 'User who acted; null when a service did or when erased.';
comment on column audit.enterprise_audit_events.session_id is 'Text identifier of the session. Secret while the session lasts.';
comment on column audit.enterprise_audit_events.service_name is 'Service concerned.';
comment on column audit.enterprise_audit_events.component_name is 'Part of the service concerned.';
comment on column audit.enterprise_audit_events.source_ip is 'Address it came from.';
comment on column audit.enterprise_audit_events.user_agent is 'User-Agent header of the client.';
comment on column audit.enterprise_audit_events.request_id is 'Identifier of the request.';
comment on column audit.enterprise_audit_events.event_description is 'What happened, for people.';
comment on column audit.enterprise_audit_events.event_outcome is 'SUCCESS, FAILURE, ERROR, PARTIAL or BLOCKED.';
comment on column audit.enterprise_audit_events.affected_resources is 'Names of what was affected.';
comment on column audit.enterprise_audit_events.data_classification is 'PUBLIC, INTERNAL, CONFIDENTIAL or RESTRICTED.';
comment on column audit.enterprise_audit_events.event_context is 'Further facts, as an object.';
comment on column audit.enterprise_audit_events.request_parameters is 'Parameters of the request, as JSON.';
comment on column audit.enterprise_audit_events.response_data is 'Answer to the request, as JSON.';
comment on column audit.enterprise_audit_events.compliance_relevant is 'Whether it counts for a standard.';
comment on column audit.enterprise_audit_events.compliance_standards is 'Names of the standards concerned.';
comment on column audit.enterprise_audit_events.retention_until is 'Until when it must be kept.';
comment on column audit.enterprise_audit_events.response_time_ms is 'Response time in milliseconds.';
comment on column audit.enterprise_audit_events.data_volume_bytes is 'Data moved, in bytes.';
comment on column audit.enterprise_audit_events.risk_score is 'Risk as rated by the application, higher is worse.';
comment on column audit.enterprise_audit_events.risk_factors is 'Names of what raised the risk.';
comment on column audit.enterprise_audit_events.hash_value is 'Hash over the event and the one before it; written by the application.';
comment on column audit.enterprise_audit_events.previous_event_id is 'event_id of the event before it in the hash chain.';
comment on column audit.enterprise_audit_events.digital_signature is 'Signature of the application over the hash.';

create table audit.threat_intelligence_events (
  id uuid not null default gen_random_uuid(),
  threat_id varchar(64) not null,
  threat_type public.threattype not null,
  threat_name varchar(200) not null,
  threat_description text not null,
  severity public.auditeventseverity not null,
  confidence_score double precision not null default 0.0,
  false_positive_probability double precision not null default 0.0,
  detected_at timestamptz not null,
  detection_method varchar(100) not null,
  detection_rule varchar(200),
  source_ip inet,
  source_country varchar(2),
  source_asn integer,
  user_id integer,
  attack_vector varchar(100),
  target_resource varchar(200),
  attack_payload text,
  indicators_of_compromise varchar[] not null default '{}',
  threat_actor varchar(100),
  campaign_id varchar(100),
  status varchar(20) not null default 'DETECTED',
  response_actions varchar[] not null default '{}',
  mitigation_steps text,
  first_seen timestamptz,
  last_seen timestamptz,
  resolved_at timestamptz,
  affected_systems varchar[] not null default '{}',
  data_compromised boolean not null default false,
  business_impact varchar(20),
  threat_context jsonb not null default '{}',
  external_references varchar[],
  constraint threat_intelligence_events_pkey primary key (id),
  constraint threat_intelligence_events_user_id_fkey foreign key (user_id) references public.users (id)
    on delete set null
);

create index idx_threat_ip on audit.threat_intelligence_events (source_ip);
create index idx_threat_severity on audit.threat_intelligence_events (severity);
create index idx_threat_status on audit.threat_intelligence_events (status);
create index idx_threat_timestamp on audit.threat_intelligence_events (detected_at);
create index idx_threat_type on audit.threat_intelligence_events (threat_type);
create unique index ix_audit_threat_intelligence_events_threat_id on audit.threat_intelligence_events (threat_id);
create index ix_audit_threat_intelligence_events_user_id on audit.threat_intelligence_events (user_id);

grant select, insert, update, delete on audit.threat_intelligence_events to app_user;
grant select on audit.threat_intelligence_events to app_readonly;

comment on table audit.threat_intelligence_events is
  'Detected threats and their handling. Written by threat detection and by administrators.';
comment on column audit.threat_intelligence_events.id is 'Key of the row; made by the server unless the application sends one.';
comment on column audit.threat_intelligence_events.threat_id is 'Identifier the application gives to the threat, unique.';
comment on column audit.threat_intelligence_events.threat_type is 'Kind of threat.';
comment on column audit.threat_intelligence_events.threat_name is 'Name of the threat.';
comment on column audit.threat_intelligence_events.threat_description is 'What the threat is.';
comment on column audit.threat_intelligence_events.severity is 'How serious it is.';
comment on column audit.threat_intelligence_events.confidence_score is 'Probability that it is a threat, 0 to 1.';
comment on column audit.threat_intelligence_events.false_positive_probability is 'Probability that it is none, 0 to 1.';
comment on column audit.threat_intelligence_events.detected_at is 'When it was detected.';
comment on column audit.threat_intelligence_events.detection_method is 'How it was detected.';
comment on column audit.threat_intelligence_events.detection_rule is 'Rule that detected it.';
comment on column audit.threat_intelligence_events.source_ip is 'Address it came from.';
comment on column audit.threat_intelligence_events.source_country is 'Country it came from, two letters (ISO 3166).';
comment on column audit.threat_intelligence_events.source_asn is 'Autonomous system number it came from.';
comment on column audit.threat_intelligence_events.user_id is 'User concerned; null for none or when erased.';
comment on column audit.threat_intelligence_events.attack_vector is 'How the attack works.';
comment on column audit.threat_intelligence_events.target_resource is 'What the attack aims at.';
comment on column audit.threat_intelligence_events.attack_payload is 'What was sent.';
comment on column audit.threat_intelligence_events.indicators_of_compromise is 'Signs of a break-in, one entry each.';
comment on column audit.threat_intelligence_events.threat_actor is 'Who is behind it, if known.';
comment on column audit.threat_intelligence_events.campaign_id is 'Campaign it belongs to, if known.';
comment on column audit.threat_intelligence_events.status is 'DETECTED, INVESTIGATING, CONTAINED, MITIGATED, CLOSED or FALSE_POSITIVE.';
comment on column audit.threat_intelligence_events.response_actions is 'What was done, one entry each.';
comment on column audit.threat_intelligence_events.mitigation_steps is 'How to contain it.';
comment on column audit.threat_intelligence_events.first_seen is 'When it was first seen.';
comment on column audit.threat_intelligence_events.last_seen is 'When it was last seen; not before the first time.';
comment on column audit.threat_intelligence_events.resolved_at is 'When it was resolved; null while open.';
comment on column audit.threat_intelligence_events.affected_systems is 'Names of the systems affected.';
comment on column audit.threat_intelligence_events.data_compromised is 'Whether data was lost.';
comment on column audit.threat_intelligence_events.business_impact is 'NONE, LOW, MEDIUM, HIGH or CRITICAL.';
comment on column audit.threat_intelligence_events.threat_context is 'Further facts, as an object.';
comment on column audit.threat_intelligence_events.external_references is 'Links to outside reports.';

create table public.compliance_assessments (
  id uuid not null default gen_random_uuid(),
  assessment_id varchar(64) not null,
  compliance_standard public.compliancestandard not null,
  assessment_date timestamptz not null,
  scope_description text not null,
  assessed_systems varchar[] not null,
  assessed_processes varchar[] not null,
  overall_status public.compliancestatus not null,
  overall_score double precision not null default 0.0,
  total_controls integer not null default 0,
  passed_controls integer not null default 0,
  failed_controls integer not null default 0,
  not_applicable_controls integer not null default 0,
  control_results jsonb not null default '{}',
  identified_gaps varchar[] not null default '{}',
  remediation_recommendations jsonb not null default '{}',
  compliance_risk_score double precision not null default 0.0,
  risk_factors varchar[] not null default '{}',
  assessor_id integer,
  assessment_method varchar(50) not null default 'AUTOMATED',
  evidence_collected jsonb not null default '{}',
  assessment_duration_minutes integer,
  assessed_at timestamptz not null default now(),
  next_assessment_due timestamptz,
  approved_by integer,
  approved_at timestamptz,
  constraint compliance_assessments_pkey primary key (id),
  constraint compliance_assessments_assessment_id_key unique (assessment_id),
  constraint uq_compliance_daily unique (compliance_standard, assessment_date),
  constraint compliance_assessments_approved_by_fkey foreign key (approved_by) references public.users (id)
    on delete set null,
  constraint compliance_assessments_assessor_id_fkey foreign key (assessor_id) references public.users (id)
    on delete set null
);

create index idx_compliance_assessed on public.compliance_assessments (assessed_at);
create index idx_compliance_standard on public.compliance_assessments (compliance_standard);
create index idx_compliance_status on public.compliance_assessments (overall_status);
create index compliance_assessments_approved_by_idx on public.compliance_assessments (approved_by);
create index idx_compliance_assessor on public.compliance_assessments (assessor_id);

comment on table public.compliance_assessments is
  'Result of one assessment against a standard. Written by the compliance worker and by assessors.';
comment on column public.compliance_assessments.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.compliance_assessments.assessment_id is 'Identifier the application gives to the assessment, unique.';
comment on column public.compliance_assessments.compliance_standard is 'Standard assessed against.';
comment on column public.compliance_assessments.assessment_date is 'Day the assessment is for; one per standard.';
comment on column public.compliance_assessments.scope_description is 'What was looked at.';
comment on column public.compliance_assessments.assessed_systems is 'Names of the systems assessed.';
comment on column public.compliance_assessments.assessed_processes is 'Names of the processes assessed.';
comment on column public.compliance_assessments.overall_status is 'Overall result.';
comment on column public.compliance_assessments.overall_score is 'Overall score, 0 to 100.';
comment on column public.compliance_assessments.total_controls is 'Controls assessed.';
comment on column public.compliance_assessments.passed_controls is 'Controls passed.';
comment on column public.compliance_assessments.failed_controls is 'Controls failed.';
comment on column public.compliance_assessments.not_applicable_controls is 'Controls that do not apply.';
comment on column public.compliance_assessments.control_results is 'Result per control, as an object keyed by control.';
comment on column public.compliance_assessments.identified_gaps is 'Gaps found, one entry each.';
comment on column public.compliance_assessments.remediation_recommendations is 'How to close the gaps, as an object.';
comment on column public.compliance_assessments.compliance_risk_score is 'Risk as rated by the assessment, higher is worse.';
comment on column public.compliance_assessments.risk_factors is 'Names of what raised the risk.';
comment on column public.compliance_assessments.assessor_id is 'Who assessed; null for an automatic assessment or when the account is gone.';
comment on column public.compliance_assessments.assessment_method is 'AUTOMATED, MANUAL or HYBRID.';
comment on column public.compliance_assessments.evidence_collected is 'Evidence, as an object.';
comment on column public.compliance_assessments.assessment_duration_minutes is 'Duration in minutes.';
comment on column public.compliance_assessments.assessed_at is 'When the assessment was recorded; set by the server.';
comment on column public.compliance_assessments.next_assessment_due is 'When the next one is due.';
comment on column public.compliance_assessments.approved_by is 'Who approved the assessment; null while open or when the account is gone.';
comment on column public.compliance_assessments.approved_at is 'When it was approved.';

create table public.forensic_investigations (
  id uuid not null default gen_random_uuid(),
  case_id varchar(64) not null,
  case_name varchar(200) not null,
  case_description text not null,
  case_type varchar(50) not null,
  priority varchar(20) not null default 'MEDIUM',
  incident_date timestamptz not null,
  discovery_date timestamptz not null,
  reported_by integer,
  primary_investigator_id integer not null,
  investigation_team integer[] not null default '{}',
  affected_systems varchar[] not null default '{}',
  affected_users integer[] not null default '{}',
  estimated_impact varchar(20),
  status varchar(20) not null default 'INITIATED',
  created_at timestamptz not null default now(),
  investigation_started timestamptz,
  investigation_completed timestamptz,
  evidence_items jsonb not null default '{}',
  key_findings varchar[] not null default '{}',
  investigation_notes text,
  legal_hold boolean not null default false,
  law_enforcement_notified boolean not null default false,
  regulatory_reporting_required boolean not null default false,
  custody_chain jsonb not null default '[]',
  evidence_hash varchar(128),
  final_report text,
  recommendations varchar[] not null default '{}',
  constraint forensic_investigations_pkey primary key (id),
  constraint forensic_investigations_primary_investigator_id_fkey foreign key (primary_investigator_id) references public.users (id),
  constraint forensic_investigations_reported_by_fkey foreign key (reported_by) references public.users (id)
    on delete set null
);

create index idx_forensic_created on public.forensic_investigations (created_at);
create index idx_forensic_investigator on public.forensic_investigations (primary_investigator_id);
create index idx_forensic_priority on public.forensic_investigations (priority);
create index idx_forensic_status on public.forensic_investigations (status);
create unique index ix_forensic_investigations_case_id on public.forensic_investigations (case_id);
create index forensic_investigations_reported_by_idx on public.forensic_investigations (reported_by);

comment on table public.forensic_investigations is
  'Investigation cases. Written by investigators.';
comment on column public.forensic_investigations.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.forensic_investigations.case_id is 'Identifier the application gives to the case, unique.';
comment on column public.forensic_investigations.case_name is 'Title of the case.';
comment on column public.forensic_investigations.case_description is 'What the case is about.';
comment on column public.forensic_investigations.case_type is 'SECURITY_INCIDENT, DATA_BREACH, INSIDER_THREAT or COMPLIANCE_VIOLATION.';
comment on column public.forensic_investigations.priority is 'LOW, MEDIUM, HIGH, CRITICAL or EMERGENCY.';
comment on column public.forensic_investigations.incident_date is 'When it happened.';
comment on column public.forensic_investigations.discovery_date is 'When it was found out; not before it happened.';
comment on column public.forensic_investigations.reported_by is 'Who reported it; null when unknown or when the account is gone.';
comment on column public.forensic_investigations.primary_investigator_id is 'Who leads the case; the account can''t be deleted while the case exists.';
comment on column public.forensic_investigations.investigation_team is 'Keys of the users who work on the case.';
comment on column public.forensic_investigations.affected_systems is 'Names of the systems affected.';
comment on column public.forensic_investigations.affected_users is 'Keys of the users affected; kept as long as the case, also after an erasure.';
comment on column public.forensic_investigations.estimated_impact is 'How bad the incident is thought to be, in the application''s words.';
comment on column public.forensic_investigations.status is 'INITIATED, EVIDENCE_COLLECTION, ANALYSIS, REPORTING or CLOSED.';
comment on column public.forensic_investigations.created_at is 'When the row was made; set by the server.';
comment on column public.forensic_investigations.investigation_started is 'When the work began.';
comment on column public.forensic_investigations.investigation_completed is 'When the work ended; not before it began.';
comment on column public.forensic_investigations.evidence_items is 'Evidence, as an object.';
comment on column public.forensic_investigations.key_findings is 'Findings, one entry each.';
comment on column public.forensic_investigations.investigation_notes is 'Working notes of the investigators.';
comment on column public.forensic_investigations.legal_hold is 'True when nothing of the case may be deleted.';
comment on column public.forensic_investigations.law_enforcement_notified is 'Whether the authorities were told.';
comment on column public.forensic_investigations.regulatory_reporting_required is 'Whether a regulator has to be told.';
comment on column public.forensic_investigations.custody_chain is 'Who held the evidence and when, as a JSON list.';
comment on column public.forensic_investigations.evidence_hash is 'Hash over the evidence.';
comment on column public.forensic_investigations.final_report is 'Closing report of the case.';
comment on column public.forensic_investigations.recommendations is 'What to do next, one entry each.';

-- With its owner's rights: an invoker would have to be allowed every column of the table, secrets as well.
create view public.enterprise_audit_event as
select
  id,
  event_id,
  event_type,
  event_category,
  event_severity,
  event_timestamp,
  processing_timestamp,
  user_id,
  session_id,
  service_name,
  component_name,
  source_ip,
  user_agent,
  request_id,
  event_description,
  event_outcome,
  affected_resources,
  data_classification,
  event_context,
  request_parameters,
  response_data,
  compliance_relevant,
  compliance_standards,
  retention_until,
  response_time_ms,
  data_volume_bytes,
  risk_score,
  risk_factors,
  hash_value,
  previous_event_id,
  digital_signature
from audit.enterprise_audit_events;

revoke select on public.enterprise_audit_event from app_readonly;
grant select (
  id, event_id, event_type, event_category, event_severity, event_timestamp, processing_timestamp, user_id,
  service_name, component_name, source_ip, user_agent, request_id, event_description, event_outcome,
  affected_resources, data_classification, event_context, request_parameters, response_data, compliance_relevant,
  compliance_standards, retention_until, response_time_ms, data_volume_bytes, risk_score, risk_factors, hash_value,
  previous_event_id, digital_signature
) on public.enterprise_audit_event to app_readonly;

comment on view public.enterprise_audit_event is 'The schema report''s name for audit.enterprise_audit_events; rows can be read and written through it.';

create view public.threat_intelligence_event with (security_invoker = true) as
select
  id,
  threat_id,
  threat_type,
  threat_name,
  threat_description,
  severity,
  confidence_score,
  false_positive_probability,
  detected_at,
  detection_method,
  detection_rule,
  source_ip,
  source_country,
  source_asn,
  user_id,
  attack_vector,
  target_resource,
  attack_payload,
  indicators_of_compromise,
  threat_actor,
  campaign_id,
  status,
  response_actions,
  mitigation_steps,
  first_seen,
  last_seen,
  resolved_at,
  affected_systems,
  data_compromised,
  business_impact,
  threat_context,
  external_references
from audit.threat_intelligence_events;

comment on view public.threat_intelligence_event is 'The schema report''s name for audit.threat_intelligence_events; rows can be read and written through it.';

create view public.compliance_assessment with (security_invoker = true) as
select
  id,
  assessment_id,
  compliance_standard,
  assessment_date,
  scope_description,
  assessed_systems,
  assessed_processes,
  overall_status,
  overall_score,
  total_controls,
  passed_controls,
  failed_controls,
  not_applicable_controls,
  control_results,
  identified_gaps,
  remediation_recommendations,
  compliance_risk_score,
  risk_factors,
  assessor_id,
  assessment_method,
  evidence_collected,
  assessment_duration_minutes,
  assessed_at,
  next_assessment_due,
  approved_by,
  approved_at
from public.compliance_assessments;

comment on view public.compliance_assessment is 'The schema report''s name for public.compliance_assessments; rows can be read and written through it.';

create view public.forensic_investigation with (security_invoker = true) as
select
  id,
  case_id,
  case_name,
  case_description,
  case_type,
  priority,
  incident_date,
  discovery_date,
  reported_by,
  primary_investigator_id,
  investigation_team,
  affected_systems,
  affected_users,
  estimated_impact,
  status,
  created_at,
  investigation_started,
  investigation_completed,
  evidence_items,
  key_findings,
  investigation_notes,
  legal_hold,
  law_enforcement_notified,
  regulatory_reporting_required,
  custody_chain,
  evidence_hash,
  final_report,
  recommendations
from public.forensic_investigations;

comment on view public.forensic_investigation is 'The schema report''s name for public.forensic_investigations; rows can be read and written through it.';
