-- Phase: 4
-- Why: takes back 0036_create_privacy_and_retention.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.privacy_requests, public.data_retention_policies, audit.data_retention_logs.

drop view public.data_retention_logs;
drop table audit.data_retention_logs;
drop table public.data_retention_policies;
drop table public.privacy_requests;

drop type public.retentionpolicytype;
