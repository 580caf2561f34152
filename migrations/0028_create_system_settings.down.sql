-- Phase: 3
-- Why: takes back 0028_create_system_settings.
-- Lock: ACCESS EXCLUSIVE on the dropped tables, to the end of the run.
-- Data loss: every row of public.system_settings.

drop table public.system_settings;
