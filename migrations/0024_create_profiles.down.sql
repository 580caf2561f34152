-- Phase: 3
-- Why: takes back 0024_create_profiles.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.user_profiles, public.user_categories, public.category_weights,
--   public.time_budgets.

drop table public.time_budgets;
drop table public.category_weights;
drop table public.user_categories;
drop table public.user_profiles;
