-- Phase: 4
-- Why: takes back the limits of retention policies; every row is taken again.
-- Lock: ACCESS EXCLUSIVE on public.data_retention_policies to the end of the run.

drop trigger data_retention_policies_check on public.data_retention_policies;
drop function maintenance.check_retention_policy();
drop function maintenance.retention_problems(text, integer, public.retentionpolicytype, jsonb, boolean);
drop view maintenance.retention_columns;
drop view maintenance.retention_tables;
