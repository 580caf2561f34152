-- Phase: 4
-- Why: takes back the reports; they hold nothing.
-- Lock: none that anyone waits for.

drop view maintenance.uncovered_foreign_keys;
drop view maintenance.redundant_indexes;
drop function maintenance.validate_checks();
drop function maintenance.check_violations(integer);
