-- The state of every test database: only the functions of this file write testdb.clone, and only states.ts calls them.
--
--   (none)    begin_build     -> building    end_build   -> (none: it is a template)
--                                            fail_build  -> returned
--   (none)    begin_copy      -> creating    end_copy    -> ready, or taken
--   ready     set_aside       -> ready with a lease: a process has a connection open in it, and nobody else gets it
--   ready     take            -> taken, or returned where a test changed its rights
--   ready     take_aside      -> taken
--   taken     hand_over       -> taken without a lease: for a process without a connection of its own, or a time
--   taken     keep            -> kept        (a failed test's, until expires_at)
--   taken, kept               give_back   -> returned; so is one that was set aside and not asked for
--   taken, kept               claim_held  -> dropping
--   returned  claim_returned  -> dropping    emptied     -> ready, or taken
--   dropping  removed         -> (none)
--   any       claim_gone      -> dropping, once nobody answers for it any more
--
-- The lease says who answers for a database: `disclaim` takes it off one that its process could not bring to the next state.
create table testdb.clone (
  name name primary key,
  template text not null,
  state text not null check (state in ('building', 'creating', 'ready', 'taken', 'kept', 'returned', 'dropping')),
  -- The number of an advisory lock that the connection of the process holds.
  lease integer,
  -- A holder without a connection of its own (command line, HTTP): its process, or a time.
  holder_pid integer,
  holder_start text,
  holder_host text,
  expires_at timestamptz,
  label text not null default '',
  run text not null default '',
  created_at timestamptz not null default now(),
  taken_at timestamptz,
  uses integer not null default 0,
  -- Owner and rights it was made with.
  rights text
);
create index clone_ready_idx on testdb.clone (template) where state = 'ready' and lease is null;

-- A template that is not yet one: nobody copies it.
create function testdb.begin_build(database name, key text, holder integer) returns void language sql as $$
  insert into testdb.clone (name, template, state, lease) values (database, key, 'building', holder);
$$;

create function testdb.end_build(database name) returns void language sql as $$
  delete from testdb.clone where name = database and state = 'building';
$$;

-- Visible as nobody's, so that the next sweep removes it even if its process ends now.
create function testdb.fail_build(database name) returns void language sql as $$
  update testdb.clone set state = 'returned', lease = null where name = database and state = 'building';
$$;

-- Written down before it exists: whatever happens in between, somebody will find and remove it.
create function testdb.begin_copy(database name, key text, holder integer, text_label text, text_run text) returns void language sql as $$
  insert into testdb.clone (name, template, state, lease, label, run) values (database, key, 'creating', holder, text_label, text_run);
$$;

-- Taken by `holder`, or ready where there is none.
create function testdb.end_copy(database name, holder integer) returns void language sql as $$
  update testdb.clone
     set state = case when holder is null then 'ready' else 'taken' end, lease = holder, taken_at = case when holder is not null then now() end,
         uses = case when holder is null then 0 else 1 end, rights = testdb.rights_of(database)
   where name = database and state = 'creating';
$$;

-- A ready database of a template, or nothing.
create function testdb.take(wanted text, holder integer, text_label text, text_run text)
  returns name
  language plpgsql
as $$
declare
  found_name name;
  made_with text;
begin
  perform testdb.refuse_production();
  loop
    select name, rights into found_name, made_with from testdb.clone
     where template = wanted and state = 'ready' and lease is null limit 1 for update skip locked;
    exit when found_name is null or testdb.rights_of(found_name) = made_with;
    update testdb.clone set state = 'returned' where name = found_name;
  end loop;
  if found_name is not null then
    update testdb.clone
       set state = 'taken', lease = holder, label = text_label, run = text_run, taken_at = now(), uses = uses + 1
     where name = found_name;
  end if;
  update testdb.template set used_at = now() where key = wanted and used_at < now() - interval '1 minute';
  notify testdb;
  return found_name;
end
$$;

-- Sets a ready database aside for a process that opens a connection in it before it asks for one; or nothing.
create function testdb.set_aside(wanted text, holder integer) returns name
  language plpgsql
as $$
declare
  found_name name;
begin
  select name into found_name from testdb.clone
   where template = wanted and state = 'ready' and lease is null limit 1 for update skip locked;
  if found_name is not null then
    update testdb.clone set lease = holder where name = found_name;
  end if;
  notify testdb;
  return found_name;
end
$$;

-- The one that was set aside is asked for; false if it is not there any more.
create function testdb.take_aside(database name, holder integer, text_label text, text_run text) returns boolean
  language plpgsql
as $$
declare
  wanted text;
begin
  perform testdb.refuse_production();
  update testdb.clone
     set state = 'taken', label = text_label, run = text_run, taken_at = now(), uses = uses + 1
   where name = database and state = 'ready' and lease = holder and rights = testdb.rights_of(database) returning template into wanted;
  update testdb.template set used_at = now() where key = wanted and used_at < now() - interval '1 minute';
  return wanted is not null;
end
$$;

-- Returned databases, of one template or of any, for one who will empty or drop them.
create function testdb.claim_returned(wanted text, holder integer, most integer) returns table (database name, key text)
  language plpgsql
as $$
begin
  return query
    update testdb.clone set state = 'dropping', lease = holder
     where name in (select name from testdb.clone where template = coalesce(wanted, template) and state = 'returned' and lease is null
                     limit most for update skip locked)
    returning clone.name, clone.template;
end
$$;

-- True if somebody will take care of it.
create function testdb.give_back(database name, holder integer) returns boolean
  language plpgsql
as $$
declare
  is_kept_up boolean := testdb.is_held(3, 0);
begin
  update testdb.clone
     set state = 'returned', lease = case when is_kept_up then null else holder end, holder_pid = null, expires_at = null
   where name = database and (state in ('taken', 'kept') or (state = 'ready' and lease = holder));
  perform testdb.restore_roles();
  if is_kept_up then
    notify testdb;
  end if;
  return is_kept_up;
end
$$;

-- Its holder has no connection to the registry: it is a process of that host, a time, or both.
create function testdb.hand_over(database name, pid integer, start text, host text, seconds double precision) returns void language sql as $$
  update testdb.clone
     set lease = null, holder_pid = pid, holder_start = start, holder_host = host, expires_at = now() + make_interval(secs => seconds)
   where name = database and state = 'taken';
$$;

-- More time, if it has an end; one that goes with its holder has none, and gets none. False if there is none of that name.
create function testdb.renew(database name, seconds double precision) returns boolean language sql as $$
  update testdb.clone set expires_at = now() + make_interval(secs => case when expires_at is not null then seconds end)
   where name = database and state in ('taken', 'kept') returning true;
$$;

-- For a while, whatever becomes of its process. False if nobody has taken it.
create function testdb.keep(database name, seconds double precision, why text) returns boolean language sql as $$
  update testdb.clone set state = 'kept', lease = null, holder_pid = null, label = why, expires_at = now() + make_interval(secs => seconds)
   where name = database and state = 'taken' returning true;
$$;

-- For one who will drop it; false if nobody has it.
create function testdb.claim_held(database name, holder integer) returns boolean language sql as $$
  update testdb.clone set state = 'dropping', lease = holder where name = database and state in ('taken', 'kept') returning true;
$$;

-- A returned one gets a name that nobody knows.
create function testdb.renamed(database name, fresh name) returns void language sql as $$
  update testdb.clone set name = fresh where name = database;
$$;

-- As its template is: taken by `holder`, or ready where there is none.
create function testdb.emptied(database name, holder integer, text_label text, text_run text) returns void language sql as $$
  update testdb.clone
     set state = case when holder is null then 'ready' else 'taken' end, lease = holder, label = text_label, run = text_run, expires_at = null,
         holder_pid = null, taken_at = case when holder is not null then now() end, created_at = now(),
         uses = case when holder is null then 0 else 1 end
   where name = database and state = 'dropping';
$$;

-- What a process could not bring to its end is the next sweep's.
create function testdb.disclaim(database name) returns void language sql as $$
  update testdb.clone set lease = null where name = database and state in ('creating', 'returned', 'dropping');
$$;

create function testdb.removed(database name) returns void language sql as $$
  delete from testdb.clone where name = database;
$$;

-- The time of databases whose process has ended is over.
create function testdb.expire(databases name[]) returns void language sql as $$
  update testdb.clone set expires_at = now() - interval '1 second' where name = any (databases) and state = 'taken';
$$;

-- What nobody answers for any more, for one who will drop it, with the reason. What is claimed under a living lease is not
-- claimed by another sweep.
create function testdb.claim_gone(holder integer, ready_unused interval) returns table (database name, reason text)
  language plpgsql
as $$
begin
  return query
    with gone as (
      select name, case
          when state = 'ready' and lease is null then 'its template is not used any more'
          when state = 'kept' or expires_at < now() then 'its time is over'
          when state = 'returned' then 'was returned'
          else 'its process has ended'
        end as why
        from testdb.clone
       where (state in ('building', 'creating', 'dropping') and not testdb.is_held(1, lease))
          -- A holder that meant to drop it itself, since there was no keeper then, may have been killed at it.
          or (state in ('taken', 'returned') and lease is not null and not testdb.is_held(1, lease))
          or (state in ('kept', 'taken') and expires_at < now())
          or (state = 'taken' and lease is null and expires_at is null and holder_pid is null)
          -- A keeper empties these or drops them itself.
          or (state = 'returned' and (template not in (select key from testdb.template) or not testdb.is_held(3, 0))
              and (lease is null or not testdb.is_held(1, lease)))
          -- Set aside by a process that ended: nobody has used it, but its session may still be open.
          or (state = 'ready' and lease is not null and not testdb.is_held(1, lease))
          or (state = 'ready' and lease is null and not exists (
                select from testdb.template where key = clone.template and used_at > now() - ready_unused))
         for update skip locked
    )
    update testdb.clone set state = 'dropping', lease = holder, expires_at = null from gone where clone.name = gone.name
    returning clone.name, gone.why;
end
$$;
