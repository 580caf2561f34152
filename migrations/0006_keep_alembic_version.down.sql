-- Phase: 1
-- Why: takes back 0006_keep_alembic_version.
-- Lock: ACCESS EXCLUSIVE on what is dropped, to the end of the run.
-- Data loss: a row the old tool wrote into a marker table made here.

-- A table without that comment is the old tool's own, which was here before and stays.
do $$
begin
  if obj_description(to_regclass('public.alembic_version'), 'pg_class') like '%made empty by ai-workflow-database%' then
    drop table public.alembic_version;
  end if;
end
$$;
