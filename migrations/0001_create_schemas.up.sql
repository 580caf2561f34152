-- Phase: 1
-- Why: the models keep their audit tables in a schema of their own, and monthly partitions stay out of sight in
--   another, so that listing public or audit shows the application's tables and nothing else.
-- Lock: none that anyone waits for: what is made here is new.

create schema audit;
comment on schema audit is 'Audit and log tables, where the application''s models expect them.';

create schema partitions;
comment on schema partitions is
  'Monthly partitions of the log tables; reached through their parents only, so no role has rights here.';

-- Rights inside audit are granted table by table, as its tables differ in who may change a row.
grant usage on schema audit to app_user, app_readonly;
