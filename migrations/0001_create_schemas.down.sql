-- Phase: 1
-- Why: takes back 0001_create_schemas.
-- Lock: ACCESS EXCLUSIVE on what is dropped, for milliseconds.

drop schema partitions;
drop schema audit;
