-- Phase: 2
-- Why: takes back 0016_create_connection_health_metrics.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.authentication_sessions and
--   public.users, to the end of the run.
-- Data loss: every row of public.connection_health_metrics.

drop table public.connection_health_metrics;
