-- Phase: 4
-- Why: with an empty search_path a session's temporary schema still comes first for types and relations. A caller made a
--   domain pg_temp.text whose check calls a function of its own, and that function ran as the owner. Named last,
--   pg_temp hides nothing. Functions whose body was bound when they were made look nothing up and keep no path: with one
--   the planner could not inline them, and masking a row would take four times as long.
-- Lock: none that anyone waits for: only the catalogue's rows of the functions are written.

alter function public.set_updated_at() set search_path = pg_catalog, pg_temp;
alter function audit.record_change() set search_path = pg_catalog, pg_temp;
alter function maintenance.make_partitions(integer, regclass) set search_path = pg_catalog, pg_temp;
alter function maintenance.try_partitions(integer, regclass) set search_path = pg_catalog, pg_temp;
alter function maintenance.drop_partitions(regclass, timestamptz, integer) set search_path = pg_catalog, pg_temp;
alter function maintenance.retention_batch(uuid, timestamptz, integer) set search_path = pg_catalog, pg_temp;
alter function maintenance.log_retention(uuid, text, bigint, jsonb, timestamptz, text, text) set search_path = pg_catalog, pg_temp;
alter function maintenance.refresh_views() set search_path = pg_catalog, pg_temp;
alter function maintenance.check_violations(integer) set search_path = pg_catalog, pg_temp;
alter function maintenance.validate_checks() set search_path = pg_catalog, pg_temp;
alter function privacy.export_user(integer) set search_path = pg_catalog, pg_temp;
alter function privacy.remove_user(integer, boolean, uuid) set search_path = pg_catalog, pg_temp;
alter function privacy.fulfil_request(uuid) set search_path = pg_catalog, pg_temp;

-- A procedure that commits can't have a path, so every name in it carries its schema, types included.
create or replace procedure maintenance.run(p_months_ahead integer default 3, p_batch_size integer default 5000)
language plpgsql
as $$
declare
  v_parent pg_catalog.record;
  v_problem pg_catalog.record;
begin
  -- Table by table, so that no default partition stays locked while another is emptied. What one table or view stands
  -- in the way of is told as a warning and done at the next run; the others don't wait for it.
  for v_parent in
    select distinct pg_catalog.format('%I.%I', parent_schema, parent_table)::pg_catalog.regclass as relation
    from maintenance.partitions
    order by 1
  loop
    for v_problem in
      select made.problem from maintenance.try_partitions(p_months_ahead, v_parent.relation) as made where made.problem is not null
    loop
      raise warning 'Partitions of % were not made: %', v_parent.relation, v_problem.problem;
    end loop;
    commit;
  end loop;
  call maintenance.apply_retention(p_batch_size);
  for v_problem in
    select refreshed.view_name, refreshed.problem from maintenance.refresh_views() as refreshed where refreshed.problem is not null
  loop
    raise warning 'View % was not refreshed: %', v_problem.view_name, v_problem.problem;
  end loop;
  commit;
end
$$;
