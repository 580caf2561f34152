-- Phase: 1
-- Why: takes back 0001_create_schemas.
-- Lock: ACCESS EXCLUSIVE on what is dropped, to the end of the run.

drop schema partitions;
drop schema audit;
