-- Phase: 2
-- Why: takes back 0015_create_sessions.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.authentication_sessions, public.session_warnings, public.secure_token_storage,
--   public.auth_queue_operations.

drop table public.auth_queue_operations;
drop table public.secure_token_storage;
drop table public.session_warnings;
drop table public.authentication_sessions;
