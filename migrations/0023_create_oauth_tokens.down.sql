-- Phase: 3
-- Why: takes back 0023_create_oauth_tokens.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.user_oauth_tokens.

drop table public.user_oauth_tokens;

drop type public.googleservice;
