-- Phase: 3
-- Why: takes back 0025_create_tasks.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.projects, public.tasks, public.task_feedback, public.code_templates.

drop table public.code_templates;
drop table public.task_feedback;
drop table public.tasks;
drop table public.projects;

drop type public.task_type;
drop type public.task_priority;
drop type public.task_status;
