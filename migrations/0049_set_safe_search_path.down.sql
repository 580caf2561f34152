-- Phase: 4
-- Why: takes back the safe search_path.
-- Lock: none that anyone waits for.

create or replace procedure maintenance.run(p_months_ahead integer default 3, p_batch_size integer default 5000)
language plpgsql
as $$
declare
  v_parent record;
  v_problem record;
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

alter function privacy.fulfil_request(uuid) set search_path = '';
alter function privacy.remove_user(integer, boolean, uuid) set search_path = '';
alter function privacy.export_user(integer) set search_path = '';
alter function maintenance.validate_checks() set search_path = '';
alter function maintenance.check_violations(integer) set search_path = '';
alter function maintenance.refresh_views() set search_path = '';
alter function maintenance.log_retention(uuid, text, bigint, jsonb, timestamptz, text, text) set search_path = '';
alter function maintenance.retention_batch(uuid, timestamptz, integer) set search_path = '';
alter function maintenance.drop_partitions(regclass, timestamptz, integer) set search_path = '';
alter function maintenance.try_partitions(integer, regclass) set search_path = '';
alter function maintenance.make_partitions(integer, regclass) set search_path = '';
alter function audit.record_change() set search_path = '';
alter function public.set_updated_at() set search_path = '';
