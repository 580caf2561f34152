-- Phase: 1
-- Why: takes back 0003_create_users.
-- Lock: ACCESS EXCLUSIVE on the dropped tables, to the end of the run.
-- Data loss: every row of public.users.

drop table public.users;

drop type public.userstatus;
drop type public.userrole;
