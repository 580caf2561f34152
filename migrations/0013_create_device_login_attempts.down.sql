-- Phase: 2
-- Why: takes back 0013_create_device_login_attempts.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.registered_devices and
--   public.users, to the end of the run.
-- Data loss: every row of public.device_login_attempts.

drop table public.device_login_attempts;
