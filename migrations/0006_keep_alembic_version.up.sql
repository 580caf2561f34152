-- Phase: 1
-- Why: the old tool's marker is one of the application's 78 tables. Where it is present it is left alone; where it
--   is not, an empty one is made, with a comment by which the way back knows it.
-- Lock: none that anyone waits for: what is made here is new.

do $$
begin
  if to_regclass('public.alembic_version') is not null then
    return;
  end if;

  create table public.alembic_version (
    version_num varchar(32) not null,
    constraint alembic_version_pkc primary key (version_num)
  );

  comment on table public.alembic_version is
    'Marker of the old migration tool, made empty by ai-workflow-database. Written by the old tool, if ever.';
  comment on column public.alembic_version.version_num is 'Identifier of the revision the old tool applied last.';
end
$$;
