-- Phase: 1
-- Why: the models stamp updated_at in Python only, so a change by plain SQL would leave it stale.
-- Lock: none that anyone waits for: what is made here is new.

create function public.set_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- The few tables that call the column otherwise pass its name; plpgsql looks a field up only when its branch runs.
  case coalesce(tg_argv[0], 'updated_at')
    when 'updated_at' then new.updated_at := now();
    when 'last_activity_at' then new.last_activity_at := now();
    when 'last_updated_at' then new.last_updated_at := now();
    when 'last_updated' then new.last_updated := now();
  end case;
  return new;
end
$$;

-- A trigger needs no right to its function, so nobody has to be able to call it.
revoke execute on function public.set_updated_at() from public, app_user;

comment on function public.set_updated_at() is
  'Trigger: sets updated_at, or the column named in the trigger''s argument, to the time of the transaction.';
