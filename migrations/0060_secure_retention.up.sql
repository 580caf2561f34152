-- Phase: 4
-- Why: 64 bits of a digest are found twice with 2^32 tries, so that the application could show a harmless policy and have
--   another approved by its digest; 160 bits take 2^80. And whoever may write policies could lock their table, which stopped the
--   refresh of the views too.
-- Lock: none that anyone waits for: only the catalogue's rows of functions are written.

create or replace function maintenance.retention_digest(
  p_table_name text, p_days integer, p_type public.retentionpolicytype, p_conditions jsonb
) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
return left(
  encode(sha256(convert_to(jsonb_build_array(p_table_name, p_days, p_type, p_conditions)::text, 'UTF8')), 'hex'), 40
);

create or replace procedure maintenance.run(p_months_ahead integer default 3, p_batch_size integer default 5000)
language plpgsql
as $$
declare
  v_parent pg_catalog.record;
  v_problem pg_catalog.record;
  v_unread pg_catalog.text;
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
  -- Who may write policies may lock their table; then the views don't wait for it, and the run fails at its end. What is locked
  -- here stays so until the retention's first commit.
  begin
    perform pg_catalog.set_config('lock_timeout', '2s', true);
    lock table public.data_retention_policies in access share mode;
  exception
    when lock_not_available then
      v_unread := sqlerrm;
  end;
  if v_unread is null then
    call maintenance.apply_retention(p_batch_size);
  end if;
  for v_problem in
    select refreshed.view_name, refreshed.problem from maintenance.refresh_views() as refreshed where refreshed.problem is not null
  loop
    raise warning 'View % was not refreshed: %', v_problem.view_name, v_problem.problem;
  end loop;
  commit;
  if v_unread is not null then
    raise exception 'Retention was not applied, as somebody has locked its policies: %', v_unread
      using errcode = 'lock_not_available';
  end if;
end
$$;
