-- What every process that makes, takes or removes test databases agrees on. It lives on the server itself, so that it can
-- not say anything about databases that are gone with it.
create schema testdb;

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
  uses integer not null default 0
);
create index clone_ready_idx on testdb.clone (template) where state = 'ready';

create sequence testdb.lease_id as integer cycle;

-- Locks of two numbers: 1 is a lease, 2 the build of a template, 3 the pool's keeper.
create function testdb.is_held(class integer, number integer) returns boolean
  language sql stable
as $$
  select exists (
    select from pg_catalog.pg_locks
     where locktype = 'advisory' and granted and objsubid = 2 and classid = class::oid and objid = number::oid
       and database = (select oid from pg_catalog.pg_database where datname = current_database())
  )
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

-- A ready database of a template, or nothing.
create function testdb.take(wanted text, holder integer, text_label text, text_run text)
  returns name
  language plpgsql
as $$
declare
  found_name name;
begin
  select name into found_name from testdb.clone
   where template = wanted and state = 'ready' limit 1 for update skip locked;
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

-- True if somebody will take care of it.
create function testdb.give_back(database name, holder integer) returns boolean
  language plpgsql
as $$
begin
  update testdb.clone set state = 'returned', lease = holder, holder_pid = null, expires_at = null where name = database and state in ('taken', 'kept');
  if testdb.is_held(3, 0) then
    update testdb.clone set lease = null where name = database and state = 'returned';
    notify testdb;
    return true;
  end if;
  return false;
end
$$;
