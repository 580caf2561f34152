-- Phase: 4
-- Why: wrong values are refused from now on.
-- Lock: ACCESS EXCLUSIVE on each table, to the end of the run: not valid skips the scan of the rows already there.

alter table public.privacy_requests
  add constraint privacy_requests_due_date_not_before_requested_at
  check (due_date >= requested_at) not valid;

alter table public.privacy_requests
  add constraint privacy_requests_request_type_known
  check (request_type in ('DATA_EXPORT', 'DATA_DELETION', 'DATA_RECTIFICATION', 'DATA_PORTABILITY')) not valid;

alter table public.privacy_requests
  add constraint privacy_requests_status_known
  check (status in ('PENDING', 'IN_PROGRESS', 'COMPLETED', 'REJECTED', 'CANCELLED')) not valid;

alter table public.data_retention_policies
  add constraint data_retention_policies_period_positive
  check (retention_period_days > 0) not valid;

alter table audit.enterprise_audit_events
  add constraint enterprise_audit_event_event_outcome_known
  check (event_outcome in ('SUCCESS', 'FAILURE', 'ERROR', 'PARTIAL', 'BLOCKED')) not valid;

alter table audit.enterprise_audit_events
  add constraint enterprise_audit_event_data_classification_known
  check (data_classification in ('PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'RESTRICTED')) not valid;

alter table audit.threat_intelligence_events
  add constraint threat_intelligence_event_last_seen_not_before_first_seen
  check (last_seen is null or last_seen >= first_seen) not valid;

alter table audit.threat_intelligence_events
  add constraint threat_intelligence_event_status_known
  check (status in ('DETECTED', 'INVESTIGATING', 'CONTAINED', 'MITIGATED', 'CLOSED', 'FALSE_POSITIVE')) not valid;

alter table audit.threat_intelligence_events
  add constraint threat_intelligence_event_business_impact_known
  check (business_impact in ('NONE', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL')) not valid;

alter table audit.threat_intelligence_events
  add constraint threat_intelligence_event_confidence_score_range
  check (confidence_score between 0 and 1) not valid;

alter table audit.threat_intelligence_events
  add constraint threat_intelligence_event_false_positive_probability_range
  check (false_positive_probability between 0 and 1) not valid;

alter table public.compliance_assessments
  add constraint compliance_assessment_assessment_method_known
  check (assessment_method in ('AUTOMATED', 'MANUAL', 'HYBRID')) not valid;

alter table public.compliance_assessments
  add constraint compliance_assessment_overall_score_range
  check (overall_score between 0 and 100) not valid;

alter table public.compliance_assessments
  add constraint compliance_assessment_controls_add_up
  check (passed_controls + failed_controls + not_applicable_controls <= total_controls) not valid;

alter table public.forensic_investigations
  add constraint forensic_investigation_completed_not_before_started
  check (investigation_completed is null or investigation_completed >= investigation_started) not valid;

alter table public.forensic_investigations
  add constraint forensic_investigation_discovery_date_not_before_incident_date
  check (discovery_date >= incident_date) not valid;

alter table public.forensic_investigations
  add constraint forensic_investigation_case_type_known
  check (case_type in ('SECURITY_INCIDENT', 'DATA_BREACH', 'INSIDER_THREAT', 'COMPLIANCE_VIOLATION')) not valid;

alter table public.forensic_investigations
  add constraint forensic_investigation_priority_known
  check (priority in ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL', 'EMERGENCY')) not valid;

alter table public.forensic_investigations
  add constraint forensic_investigation_status_known
  check (status in ('INITIATED', 'EVIDENCE_COLLECTION', 'ANALYSIS', 'REPORTING', 'CLOSED')) not valid;

alter table audit.data_retention_logs
  add constraint data_retention_logs_retention_action_known
  check (retention_action in ('ARCHIVE', 'DELETE', 'ANONYMIZE', 'PURGE')) not valid;

alter table audit.data_retention_logs
  add constraint data_retention_logs_execution_status_known
  check (execution_status in ('SUCCESS', 'FAILURE', 'PARTIAL', 'SKIPPED')) not valid;
