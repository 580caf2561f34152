-- Phase: 4
-- Why: takes back the longer digest, and the views' independence from the policies.
-- Lock: none that anyone waits for.

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

create or replace function maintenance.retention_digest(
  p_table_name text, p_days integer, p_type public.retentionpolicytype, p_conditions jsonb
) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
return left(
  encode(sha256(convert_to(jsonb_build_array(p_table_name, p_days, p_type, p_conditions)::text, 'UTF8')), 'hex'), 16
);
