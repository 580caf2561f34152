-- Phase: 4
-- Why: takes back the retention procedure; policies and their log stay.
-- Lock: none that anyone waits for.

drop procedure maintenance.apply_retention(integer);
drop function maintenance.log_retention(uuid, text, bigint, jsonb, timestamptz, text, text);
drop function maintenance.retention_batch(uuid, timestamptz, integer);
drop function maintenance.goes_by_partition(public.data_retention_policies);
drop function maintenance.resolve_table(text);
