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
