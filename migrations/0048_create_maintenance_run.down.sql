-- Phase: 4
-- Why: takes back the procedure that calls the others.
-- Lock: none that anyone waits for.

drop procedure maintenance.run(integer, integer);
