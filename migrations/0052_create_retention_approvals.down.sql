-- Phase: 4
-- Why: takes back the approvals of retention policies.
-- Lock: ACCESS EXCLUSIVE on public.data_retention_policies to the end of the run.
-- Data loss: what was approved, by whom and when.

drop trigger data_retention_policies_forget_off on public.data_retention_policies;
drop trigger data_retention_policies_forget_deleted on public.data_retention_policies;
drop function maintenance.forget_approval();
drop function maintenance.withdraw_retention(uuid);
drop function maintenance.approve_retention(uuid, text);
drop view maintenance.retention_status;
drop function maintenance.retention_digest(text, integer, public.retentionpolicytype, jsonb);
drop table maintenance.retention_approvals;
