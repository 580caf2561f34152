-- Phase: 3
-- Why: takes back 0027_create_analysis.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.mission_interviews, public.semantic_insights, public.ai_analysis_history.

drop table public.ai_analysis_history;
drop table public.semantic_insights;
drop table public.mission_interviews;
