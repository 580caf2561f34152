-- Phase: 4
-- Why: takes back 0034_create_audit_logs.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of audit.audit_log, audit.security_violations, audit.data_access_log,
--   audit.security_metrics.

drop view public.security_metrics;
drop view public.data_access_log;
drop view public.security_violations;
drop view public.audit_log;
drop table audit.security_metrics;
drop table audit.data_access_log;
drop table audit.security_violations;
drop table audit.audit_log;

drop type public.auditoperation;
