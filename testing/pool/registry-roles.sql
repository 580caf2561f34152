-- Roles belong to the server: what one test does to them, all others get. Here is how they were when the registry was made,
-- and how they are brought back: by the statements for it, so that nothing that the server derives from them is left behind.
-- By name, as a role that was dropped comes back under another number.

-- Databases that are neither tests' nor templates.
create table testdb.lasting as
  select oid from pg_catalog.pg_database
   where not starts_with(datname, 'aiwdb_test_') and not starts_with(datname, 'aiwdb_tmpl_');

create view testdb.role_now as
  select oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolpassword,
         coalesce(rolvaliduntil, 'infinity') as rolvaliduntil, shobj_description(oid, 'pg_authid') as description
    from pg_catalog.pg_authid where rolname !~ '^pg_' and not starts_with(rolname, 'aiwdb_test_');
create table testdb.role as table testdb.role_now;

-- For one role, or '' for all, in one lasting database or, with 0, everywhere. The mark of a server is its operator's.
create view testdb.setting_now as
  select setdatabase, case setrole when 0 then '' else pg_get_userbyid(setrole) end as role,
         split_part(option, '=', 1) as setting, substr(option, strpos(option, '=') + 1) as value
    from pg_catalog.pg_db_role_setting cross join lateral unnest(setconfig) as option
   where (setdatabase = 0 or setdatabase in (select oid from testdb.lasting)) and (setrole = 0 or setrole in (select oid from testdb.role))
     and not (setrole = 0 and starts_with(option, 'aiwdb.environment='));
create table testdb.setting as table testdb.setting_now;

-- Of the roles above, and of the server's own.
create view testdb.membership_now as
  select pg_get_userbyid(roleid) as role, pg_get_userbyid(member) as member, pg_get_userbyid(grantor) as grantor,
         admin_option, inherit_option, set_option
    from pg_catalog.pg_auth_members
   where member in (select oid from testdb.role) or pg_get_userbyid(member) ~ '^pg_';
create table testdb.membership as table testdb.membership_now;

create view testdb.shared_object_now as
  select 'database' as kind, datname as object, pg_get_userbyid(datdba) as owner, coalesce(datacl, acldefault('d', datdba)) as acl
    from pg_catalog.pg_database where oid in (select oid from testdb.lasting)
  union all
  select 'tablespace', spcname, pg_get_userbyid(spcowner), coalesce(spcacl, acldefault('t', spcowner)) from pg_catalog.pg_tablespace
  union all
  -- A superuser's own right stands in every list and says nothing.
  select 'parameter', parname, null, array(select item from unnest(paracl) as item where not starts_with(item::text, 'postgres='))
    from pg_catalog.pg_parameter_acl;
create table testdb.shared_object_owner as select kind, object, owner from testdb.shared_object_now where owner is not null;

create view testdb.shared_right_now as
  select kind, object, case grantee when 0 then '' else pg_get_userbyid(grantee) end as role, privilege_type, is_grantable
    from testdb.shared_object_now cross join lateral aclexplode(acl)
   where grantee = 0 or grantee in (select oid from testdb.role);
create table testdb.shared_right as table testdb.shared_right_now;

-- Which rows of the catalogue say so; any change writes a new one. Looked at whenever a database is given back.
create function testdb.role_stamp() returns text
  language plpgsql stable
as $$
declare
  lasting oid[] := array(select oid from testdb.lasting);
begin
  return concat_ws(' ',
    (select string_agg(oid || '/' || xmin::text || ctid::text, ' ' order by oid) from pg_catalog.pg_authid
      where rolname !~ '^pg_' and not starts_with(rolname, 'aiwdb_test_')),
    (select string_agg(xmin::text || ctid::text, ' ' order by ctid) from pg_catalog.pg_db_role_setting
      where setdatabase = 0 or setdatabase = any (lasting)),
    (select string_agg(xmin::text || ctid::text, ' ' order by ctid) from pg_catalog.pg_auth_members),
    (select string_agg(xmin::text || ctid::text, ' ' order by ctid) from pg_catalog.pg_shdescription where classoid = 'pg_authid'::regclass),
    (select string_agg(xmin::text || ctid::text, ' ' order by ctid) from pg_catalog.pg_database where oid = any (lasting)),
    (select string_agg(xmin::text || ctid::text, ' ' order by ctid) from pg_catalog.pg_tablespace),
    (select string_agg(xmin::text || ctid::text, ' ' order by ctid) from pg_catalog.pg_parameter_acl));
end
$$;
create table testdb.seen_roles as select testdb.role_stamp() as stamp;

-- Gives every role its name again, and makes one again that was dropped. Whoever has such a name now gets another.
create function testdb.bring_back_names() returns name[]
  language plpgsql
as $$
declare
  changed name[] := '{}';
  was record;
begin
  for was in
    select role.rolname, now.rolname as other from testdb.role join pg_catalog.pg_authid as now using (oid) where now.rolname <> role.rolname
  loop
    -- Out of the way of those that have exchanged their names.
    execute format('alter role %I rename to %I', was.other, 'aiwdb_renamed_' || md5(was.rolname));
    changed := changed || was.rolname;
  end loop;
  for was in
    select role.rolname, now.oid as usurper from testdb.role join pg_catalog.pg_authid as now using (rolname)
     where now.oid <> role.oid and exists (select from pg_catalog.pg_authid where oid = role.oid)
  loop
    execute format('alter role %I rename to %I', was.rolname, 'aiwdb_foreign_' || was.usurper);
  end loop;
  for was in
    select role.rolname, now.rolname as other from testdb.role join pg_catalog.pg_authid as now using (oid) where now.rolname <> role.rolname
  loop
    execute format('alter role %I rename to %I', was.other, was.rolname);
  end loop;
  for was in select rolname from testdb.role where not exists (select from pg_catalog.pg_authid where oid = role.oid) loop
    if to_regrole(quote_ident(was.rolname)) is null then
      execute format('create role %I', was.rolname);
    end if;
    update testdb.role set oid = to_regrole(quote_ident(was.rolname)) where rolname = was.rolname;
    changed := changed || was.rolname;
  end loop;
  return changed;
end
$$;

-- a, "B c" to 'a', 'B c'.
create function testdb.list_of_literals(names text) returns text
  language sql immutable
as $$
  select string_agg(quote_literal(case when starts_with(part[1], '"') then replace(substr(part[1], 2, length(part[1]) - 2), '""', '"') else part[1] end), ', ' order by position)
    from regexp_matches(names, '("(?:[^"]|"")*"|[^",[:space:]]+)', 'g') with ordinality as parts (part, position)
$$;

create function testdb.bring_back_settings() returns name[]
  language plpgsql
as $$
declare
  changed name[] := '{}';
  wrong record;
  target text;
begin
  for wrong in
    select distinct setdatabase, role, setting, datname, was.value
      from ((table testdb.setting_now except table testdb.setting) union all (table testdb.setting except table testdb.setting_now)) as difference
      left join testdb.setting as was using (setdatabase, role, setting)
      left join pg_catalog.pg_database on pg_database.oid = setdatabase
     where setdatabase = 0 or datname is not null
  loop
    target := case
      when wrong.role = '' and wrong.setdatabase = 0 then 'role all'
      when wrong.role = '' then format('database %I', wrong.datname)
      when wrong.setdatabase = 0 then format('role %I', wrong.role)
      else format('role %I in database %I', wrong.role, wrong.datname)
    end;
    if wrong.value is null then
      execute format('alter %s reset %s', target, wrong.setting);
    else
      -- A list is recorded as one of names, with those quoted that need it; all else is plain text.
      execute format('alter %s set %s to %s', target, wrong.setting,
        case when lower(wrong.setting) in ('search_path', 'session_preload_libraries', 'local_preload_libraries', 'temp_tablespaces')
             then testdb.list_of_literals(wrong.value)
             else quote_literal(wrong.value) end);
    end if;
    changed := changed || case when wrong.role <> '' then wrong.role when wrong.setdatabase = 0 then 'all' else wrong.datname end;
  end loop;
  return changed;
end
$$;

create function testdb.bring_back_memberships() returns name[]
  language plpgsql
as $$
declare
  changed name[] := '{}';
  wrong record;
begin
  for wrong in table testdb.membership_now except table testdb.membership loop
    -- With what its holder made of it. It may have gone with another one by now, which is a warning.
    execute format('revoke %I from %I granted by %I cascade', wrong.role, wrong.member, wrong.grantor);
    changed := changed || wrong.member;
  end loop;
  for wrong in
    select * from (table testdb.membership except table testdb.membership_now) as missing
     order by grantor <> pg_get_userbyid(10) -- who may grant by admin option has that by now
  loop
    execute format('grant %I to %I with admin %s, inherit %s, set %s granted by %I',
      wrong.role, wrong.member, wrong.admin_option::text, wrong.inherit_option::text, wrong.set_option::text, wrong.grantor);
    changed := changed || wrong.member;
  end loop;
  return changed;
end
$$;

create function testdb.bring_back_rights() returns name[]
  language plpgsql
as $$
declare
  changed name[] := '{}';
  wrong record;
  given record;
begin
  for wrong in
    select kind, object, was.owner from testdb.shared_object_owner as was join testdb.shared_object_now as now using (kind, object)
     where was.owner <> now.owner
  loop
    execute format('alter %s %I owner to %I', wrong.kind, wrong.object, wrong.owner);
    changed := changed || wrong.owner;
  end loop;
  for wrong in
    select distinct kind, object, role, case kind when 'parameter' then object else quote_ident(object) end as named,
           case role when '' then 'public' else quote_ident(role) end as grantee
      from ((table testdb.shared_right_now except table testdb.shared_right) union all (table testdb.shared_right except table testdb.shared_right_now)) as difference
     where kind = 'parameter' or (kind, object) in (select kind, object from testdb.shared_object_now)
  loop
    execute format('revoke all on %s %s from %s cascade', wrong.kind, wrong.named, wrong.grantee);
    for given in select privilege_type, is_grantable from testdb.shared_right where (kind, object, role) = (wrong.kind, wrong.object, wrong.role) loop
      execute format('grant %s on %s %s to %s %s',
        given.privilege_type, wrong.kind, wrong.named, wrong.grantee, case when given.is_grantable then 'with grant option' end);
    end loop;
    changed := changed || case wrong.role when '' then 'public' else wrong.role end;
  end loop;
  return changed;
end
$$;

create function testdb.bring_back_roles() returns name[]
  language plpgsql
as $$
declare
  changed name[] := testdb.bring_back_names();
  was record;
begin
  for was in select role.* from testdb.role join testdb.role_now as now using (oid) where to_jsonb(role) is distinct from to_jsonb(now) loop
    execute format('alter role %I with %s %s %s %s %s %s %s connection limit %s password %L valid until %L',
      was.rolname,
      case when was.rolsuper then 'superuser' else 'nosuperuser' end,
      case when was.rolinherit then 'inherit' else 'noinherit' end,
      case when was.rolcreaterole then 'createrole' else 'nocreaterole' end,
      case when was.rolcreatedb then 'createdb' else 'nocreatedb' end,
      case when was.rolcanlogin then 'login' else 'nologin' end,
      case when was.rolreplication then 'replication' else 'noreplication' end,
      case when was.rolbypassrls then 'bypassrls' else 'nobypassrls' end,
      was.rolconnlimit, was.rolpassword, was.rolvaliduntil);
    execute format('comment on role %I is %L', was.rolname, was.description);
    changed := changed || was.rolname;
  end loop;
  return changed || testdb.bring_back_settings() || testdb.bring_back_memberships() || testdb.bring_back_rights();
end
$$;

-- Brings roles back to what they were, and says which were changed. What can not be brought back keeps no database from being
-- given back, and is tried again with the next one.
create function testdb.restore_roles() returns void
  language plpgsql
as $$
declare
  changed name[];
begin
  if testdb.role_stamp() = (select stamp from testdb.seen_roles) then
    return;
  end if;
  perform pg_advisory_xact_lock(7241865, 2);
  if testdb.role_stamp() = (select stamp from testdb.seen_roles) then
    return;
  end if;
  begin
    changed := testdb.bring_back_roles();
    update testdb.seen_roles set stamp = testdb.role_stamp();
  exception when others then
    raise warning 'aiwdb: a test changed roles of the whole server, and they can not be brought back: %. If this goes on, make the server anew: `npx aiwdb testdb stop`, then `start`.', sqlerrm;
    return;
  end;
  if cardinality(changed) > 0 then
    raise warning 'aiwdb: a test changed roles of the whole server: %; they are as before', array_to_string(array(select distinct unnest(changed) order by 1), ', ');
  end if;
end
$$;
