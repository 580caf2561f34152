-- Phase: 2
-- Why: takes back 0012_create_two_factor_audit_log.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.two_factor_audit_log.

drop table public.two_factor_audit_log;

drop type public.twofactorauditaction;
