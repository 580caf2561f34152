-- Phase: 4
-- Why: takes back 0035_create_compliance.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of audit.enterprise_audit_events, audit.threat_intelligence_events,
--   public.compliance_assessments, public.forensic_investigations.

drop view public.forensic_investigation;
drop view public.compliance_assessment;
drop view public.threat_intelligence_event;
drop view public.enterprise_audit_event;
drop table public.forensic_investigations;
drop table public.compliance_assessments;
drop table audit.threat_intelligence_events;
drop table audit.enterprise_audit_events;

drop type public.compliancestatus;
drop type public.compliancestandard;
drop type public.threattype;
drop type public.auditeventseverity;
drop type public.auditeventcategory;
