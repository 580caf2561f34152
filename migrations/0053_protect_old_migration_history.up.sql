-- Phase: 4
-- Why: the old tool's marker is the history of its migrations, which the application has to read at most. The runner's own
--   table is taken care of by the runner, since it is there before any migration.
-- Lock: none that anyone waits for.

do $$
begin
  -- Whoever else made the table gave their own rights.
  if (select relowner = current_user::regrole from pg_class where oid = 'public.alembic_version'::regclass) then
    revoke insert, update, delete on public.alembic_version from app_user;
  end if;
end
$$;
