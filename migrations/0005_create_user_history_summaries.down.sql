-- Phase: 1
-- Why: takes back 0005_create_user_history_summaries.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.user_history_summaries.

drop table public.user_history_summaries;
