-- Phase: 3
-- Why: takes back 0031_create_memory.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.chat_mode_sessions, public.simple_chat_context, public.cross_service_memory_sync.

drop table public.cross_service_memory_sync;
drop table public.simple_chat_context;
drop table public.chat_mode_sessions;
