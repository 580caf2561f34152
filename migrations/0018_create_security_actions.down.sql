-- Phase: 2
-- Why: takes back 0018_create_security_actions.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.security_actions.

drop table public.security_actions;

drop type public.securityactionstatus;
drop type public.securityactiontype;
drop type public.violationseverity;
