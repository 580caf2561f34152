-- Phase: 1
-- Why: takes back 0004_create_system_prompts.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.system_prompts.

drop table public.system_prompts;
