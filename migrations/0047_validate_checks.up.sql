-- Phase: 4
-- Why: checks were added not valid, as rows from before might break them. Those that no row breaks are validated here. A
--   row that does break one must not stop a deployment: its check stays in force for new rows, the migration says so,
--   and `select * from maintenance.check_violations()` names the rows.
-- Lock: SHARE UPDATE EXCLUSIVE on each table during a scan of it: reads and writes go on.

do $$
declare
  v_check record;
begin
  for v_check in select * from maintenance.validate_checks() where not validated loop
    raise warning 'Check % of table % stays not validated: rows from before break it.', v_check.constraint_name, v_check.table_name
      using
        detail = v_check.problem,
        hint = 'Correct the rows that maintenance.check_violations() names, then call maintenance.validate_checks().';
  end loop;
end
$$;
