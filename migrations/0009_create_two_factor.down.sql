-- Phase: 2
-- Why: takes back 0009_create_two_factor.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.user_two_factor_auth, public.user_two_factor_settings,
--   public.two_factor_challenges.

drop table public.two_factor_challenges;
drop table public.user_two_factor_settings;
drop table public.user_two_factor_auth;

drop type public.twofactormethod;
