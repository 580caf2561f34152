-- Phase: 4
-- Why: takes back the retention procedure; policies and their log stay.
-- Lock: none that anyone waits for.

drop procedure maintenance.apply_retention(integer);
drop function maintenance.retention_batch(uuid, timestamptz, integer);
drop function maintenance.resolve_table(text);
