-- Phase: 4
-- Why: takes back the materialized views; their content is derived and comes back with them.
-- Lock: ACCESS EXCLUSIVE on the views, to the end of the run.
-- Data loss: when each view was last refreshed.

drop function maintenance.refresh_views();
drop view maintenance.view_freshness;
drop table maintenance.view_refreshes;

drop materialized view public.connection_health_summary;
drop materialized view public.session_health_summary;
drop materialized view public.user_dashboard_summary;
drop materialized view public.security_metrics_summary;
drop materialized view public.auth_security_summary;
