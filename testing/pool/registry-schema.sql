-- What every process that makes, takes or removes test databases agrees on. It lives on the server itself, so that it can
-- not say anything about databases that are gone with it.
create table testdb.template (
  key text primary key,
  database name not null unique,
  label text not null,
  built_at timestamptz not null default now(),
  used_at timestamptz not null default now(),
  fingerprint jsonb not null
);

-- States: building (a template that is not yet one), creating, ready, taken, kept (a failed test's, until expires_at),
-- returned (to be emptied or dropped), dropping.
create table testdb.clone (
  name name primary key,
  template text not null,
  state text not null check (state in ('building', 'creating', 'ready', 'taken', 'kept', 'returned', 'dropping')),
  -- Who answers for it: the number of an advisory lock its process' connection holds.
  -- A ready one with a lease is set aside for that process, which has a connection open in it.
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

create sequence testdb.lease_id as integer cycle;

-- Locks of two numbers: 1 is a lease, 2 the build of a template, 3 the pool's keeper. In plpgsql, which keeps its plans: a
-- function in SQL that is not inlined is planned at each call, which takes longer than the rest of a take or a return.
create function testdb.is_held(class integer, number integer) returns boolean
  language plpgsql stable
as $$
begin
  return exists (
    select from pg_catalog.pg_locks
     where locktype = 'advisory' and granted and objsubid = 2 and classid = class::oid and objid = number::oid
       and database = (select oid from pg_catalog.pg_database where datname = current_database())
  );
end
$$;

create function testdb.open_lease() returns integer
  language plpgsql
as $$
declare
  lease integer := nextval('testdb.lease_id');
begin
  perform pg_advisory_lock(1, lease);
  return lease;
end
$$;

create function testdb.refuse_production() returns void
  language plpgsql
as $$
begin
  if exists (select from pg_catalog.pg_db_role_setting, unnest(setconfig) as option
              where setrole = 0 and option = 'aiwdb.environment=production') then
    raise exception 'This server is marked production; nothing has been done to it.' using errcode = 'AIWDB';
  end if;
end
$$;

-- Whose a database is and who may connect. DROP OWNED and REASSIGN OWNED change it for all databases of the server.
create function testdb.rights_of(database name) returns text
  language plpgsql stable
as $$
begin
  return (select datdba || ' ' || datacl::text from pg_catalog.pg_database where datname = database);
end
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

-- A returned database of a template, for one who will empty it himself; or nothing.
create function testdb.claim_returned(wanted text, holder integer) returns name
  language plpgsql
as $$
declare
  claimed name;
begin
  update testdb.clone set state = 'dropping', lease = holder
   where name = (select name from testdb.clone where template = wanted and state = 'returned' and lease is null
                  limit 1 for update skip locked)
  returning name into claimed;
  return claimed;
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
