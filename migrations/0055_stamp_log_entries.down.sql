-- Phase: 4
-- Why: takes the server's stamps off the logs; who added the entries of the meantime is forgotten with the column.
-- Data loss: recorded_by of nine logs and recorded_at of audit.threat_intelligence_events.
-- Lock: ACCESS EXCLUSIVE on each log, to the end of the run: reads and writes wait.

drop trigger audit_log_stamp on audit.audit_log;
drop trigger audit_log_refuse_date on audit.audit_log;
alter table audit.audit_log alter column created_at set default now();

drop trigger data_access_log_stamp on audit.data_access_log;
drop trigger data_access_log_refuse_date on audit.data_access_log;
alter table audit.data_access_log alter column created_at set default now();
alter table audit.data_access_log drop column recorded_by;

drop trigger data_retention_logs_stamp on audit.data_retention_logs;
drop trigger data_retention_logs_refuse_date on audit.data_retention_logs;
alter table audit.data_retention_logs alter column executed_at set default now();
alter table audit.data_retention_logs drop column recorded_by;

drop trigger enterprise_audit_events_keep_stamp on audit.enterprise_audit_events;
drop trigger enterprise_audit_events_stamp on audit.enterprise_audit_events;
drop trigger enterprise_audit_events_refuse_date on audit.enterprise_audit_events;
alter table audit.enterprise_audit_events alter column processing_timestamp set default now();
alter table audit.enterprise_audit_events drop column recorded_by;

drop trigger security_metrics_stamp on audit.security_metrics;
drop trigger security_metrics_refuse_date on audit.security_metrics;
alter table audit.security_metrics alter column recorded_at set default now();
alter table audit.security_metrics drop column recorded_by;

drop trigger security_violations_keep_stamp on audit.security_violations;
drop trigger security_violations_stamp on audit.security_violations;
drop trigger security_violations_refuse_date on audit.security_violations;
alter table audit.security_violations alter column created_at set default now();
alter table audit.security_violations drop column recorded_by;

drop trigger threat_intelligence_events_keep_stamp on audit.threat_intelligence_events;
drop trigger threat_intelligence_events_stamp on audit.threat_intelligence_events;
drop trigger threat_intelligence_events_refuse_date on audit.threat_intelligence_events;
alter table audit.threat_intelligence_events drop column recorded_by;
alter table audit.threat_intelligence_events drop column recorded_at;

drop trigger device_login_attempts_stamp on public.device_login_attempts;
drop trigger device_login_attempts_refuse_date on public.device_login_attempts;
alter table public.device_login_attempts alter column attempted_at set default now();
alter table public.device_login_attempts drop column recorded_by;

drop trigger router_decision_log_stamp on public.router_decision_log;
drop trigger router_decision_log_refuse_date on public.router_decision_log;
alter table public.router_decision_log alter column created_at set default now();
alter table public.router_decision_log drop column recorded_by;

drop trigger two_factor_audit_log_stamp on public.two_factor_audit_log;
drop trigger two_factor_audit_log_refuse_date on public.two_factor_audit_log;
alter table public.two_factor_audit_log alter column created_at set default now();
alter table public.two_factor_audit_log drop column recorded_by;

comment on column audit.audit_log.transaction_id is 'Number of the database transaction, so that changes made together can be found.';
comment on column audit.audit_log.security_context is 'Who acted at the database, as an object: db_role; origin, which is trigger for an entry of audit.record_change; subject_user_id, the user the row belongs to; unproven_identity, when a setting named a user without audit.act_as.';

drop function audit.stamp_trail();
drop function audit.keep_stamp();
drop function audit.stamp_entry();
drop function audit.refuse_date();
