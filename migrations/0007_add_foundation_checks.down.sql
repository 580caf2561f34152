-- Phase: 1
-- Why: takes back 0007_add_foundation_checks.
-- Lock: ACCESS EXCLUSIVE on what is dropped, to the end of the run.

alter table public.user_history_summaries drop constraint user_history_summaries_complexity_preference_known;
alter table public.user_history_summaries drop constraint user_history_summaries_summary_period_known;
alter table public.user_history_summaries drop constraint user_history_summaries_period_end_not_before_period_start;
alter table public.system_prompts drop constraint system_prompts_default_has_no_user;
alter table public.system_prompts drop constraint system_prompts_usage_count_not_negative;
alter table public.users drop constraint users_web_search_provider_known;
alter table public.users drop constraint users_email_format;
