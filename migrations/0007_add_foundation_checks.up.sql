-- Phase: 1
-- Why: wrong values are refused from now on; rows that were there before are looked at later, when the constraints
--   are validated.
-- Lock: ACCESS EXCLUSIVE on each table, to the end of the run: not valid skips the scan of the rows already there.

alter table public.users
  add constraint users_email_format
  check (email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$') not valid;

alter table public.users
  add constraint users_web_search_provider_known
  check (web_search_provider in ('tavily', 'serpapi', 'disabled')) not valid;

alter table public.system_prompts
  add constraint system_prompts_usage_count_not_negative
  check (usage_count >= 0) not valid;

alter table public.system_prompts
  add constraint system_prompts_default_has_no_user
  check (not is_factory_default or user_id is null) not valid;

alter table public.user_history_summaries
  add constraint user_history_summaries_period_end_not_before_period_start
  check (period_end >= period_start) not valid;

alter table public.user_history_summaries
  add constraint user_history_summaries_summary_period_known
  check (summary_period in ('weekly', 'monthly', 'all_time')) not valid;

alter table public.user_history_summaries
  add constraint user_history_summaries_complexity_preference_known
  check (complexity_preference in ('low', 'medium', 'high')) not valid;
