-- Phase: 3
-- Why: takes back 0032_create_router_decision_log.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.chat_mode_sessions, to the end of
--   the run.
-- Data loss: every row of public.router_decision_log.

drop table public.router_decision_log;
