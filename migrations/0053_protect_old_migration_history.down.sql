-- Phase: 4
-- Why: gives the application back what it might write of the old tool's marker.
-- Lock: none that anyone waits for.

do $$
begin
  if (select relowner = current_user::regrole from pg_class where oid = 'public.alembic_version'::regclass) then
    grant insert, update, delete on public.alembic_version to app_user;
  end if;
end
$$;
