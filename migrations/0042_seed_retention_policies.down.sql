-- Phase: 4
-- Why: takes back the default policies; those that administrators made stay.
-- Lock: none that anyone waits for.
-- Data loss: the default retention policies with their changes, and the log of their runs.

delete from audit.data_retention_logs
where policy_id in (
  select id from public.data_retention_policies where (conditions ->> 'is_default')::boolean
);

delete from public.data_retention_policies
where (conditions ->> 'is_default')::boolean;
