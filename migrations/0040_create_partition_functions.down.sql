-- Phase: 4
-- Why: takes back the partition functions. Monthly partitions made by them hold rows and stay.
-- Lock: none that anyone waits for.

drop function maintenance.drop_partitions(regclass, timestamptz, integer);
drop function maintenance.try_partitions(integer, regclass);
drop function maintenance.make_partitions(integer, regclass);
drop function maintenance.partition_key(regclass);
drop view maintenance.partitions;
drop schema maintenance;
