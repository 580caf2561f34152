-- Phase: 4
-- Why: takes back that an erasure keeps approved policies and room in indexes, and that an entry bears the role that last changed it.
-- Lock: SHARE ROW EXCLUSIVE on three logs, to the end of the run: writes wait.

create or replace function privacy.sweep(p_user_id integer, p_anywhere privacy.search, p_in_own_rows privacy.search) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table record;
  v_search privacy.search;
  v_filter text;
  v_started timestamptz;
  v_rows bigint;
  v_constraint text;
  v_texts jsonb := '{}';
begin
  for v_table in
    select
      place.table_name,
      string_agg(
        format('%I = ', place.column_name) || format(
          case
            when place.content = 'unique' then
              'case when entry.%1$I ~ any ($5) then left(''erased-'' || gen_random_uuid(), %3$s) else entry.%1$I end'
            when place.kind = 'text' then 'left(privacy.redact(entry.%1$I, %2$s), %3$s)'
            when place.kind = 'array' then 'privacy.redact_array(entry.%1$I::text[], %2$s)::%4$s'
            else 'privacy.redact_json(entry.%1$I, %2$s)'
          end,
          place.column_name,
          -- A name may be part of an identifier by chance; an address is not.
          case when place.content = 'text' then '$3, $4' else '$5, $6' end,
          coalesce(place.max_length, 2147483647),
          place.type_name
        ),
        ', ' order by place.column_number
      ) as assignments,
      -- One look at each row, whatever the number of its columns.
      format(
        'concat_ws(e''\x1f'', %s)', string_agg(format('entry.%I::text', place.column_name), ', ' order by place.column_number)
      ) as texts,
      -- Evidence under a legal hold stays as it is, whoever it is about.
      case
        when place.table_name = 'public.forensic_investigations' then 'not (legal_hold and status <> ''CLOSED'')'
        else 'true'
      end as is_free,
      (
        select string_agg(format('(%s)', entry.filter), ' or ' order by entry.step)
        from privacy.user_data as entry
        where entry.table_name = place.table_name
      ) as is_own
    from privacy.text_columns as place
    where place.kind <> 'unknown' and place.content in ('text', 'unique', 'fact')
    group by place.table_name
    -- The trail last.
    order by place.table_name = 'audit.audit_log', place.table_name
  loop
    v_started := clock_timestamp();
    v_rows := 0;
    foreach v_search in array array[p_anywhere, p_in_own_rows] loop
      v_filter := case when v_search is not distinct from p_anywhere then 'true' else v_table.is_own end;
      continue when v_search.patterns is null or v_filter is null;
      begin
        execute format(
          -- A case, as the planner would take the expression first.
          'update %1$s as entry set %2$s where (%3$s) and %4$s and '
          'case when lower(%5$s collate "C") like any ($2) then %5$s ~ any ($3) else false end',
          v_table.table_name, v_table.assignments, v_filter, v_table.is_free, v_table.texts
        )
        using
          p_user_id, v_search.needles, v_search.patterns, v_search.replacements,
          v_search.patterns[:v_search.address_count], v_search.replacements[:v_search.address_count];
      exception
        -- Without the detail, which has the row.
        when integrity_constraint_violation then
          get stacked diagnostics v_constraint = constraint_name;
          raise exception 'A row of % that names user % can''t be rewritten, so nothing was changed: it breaks %.',
            v_table.table_name, p_user_id, v_constraint
            using
              errcode = 'object_not_in_prerequisite_state',
              hint = 'A row older than a check may break it in another column. `aiwdb maintain --checks` names such rows: correct it first.';
      end;
      get diagnostics v_rows = row_count;
      if v_rows > 0 then
        v_texts := v_texts || jsonb_build_object(
          v_table.table_name,
          jsonb_build_object(
            'rows', v_rows + coalesce((v_texts #>> array[v_table.table_name, 'rows'])::bigint, 0),
            'ms', round(extract(epoch from clock_timestamp() - v_started) * 1000)
          )
        );
      end if;
    end loop;
  end loop;
  return v_texts;
end
$$;

create or replace view privacy.text_columns as
select
  format('%I.%I', namespace.nspname, class.relname) as table_name,
  attribute.attname as column_name,
  attribute.attnum as column_number,
  case
    when base.oid in ('json'::regtype, 'jsonb'::regtype) then base.typname::text
    when base.typcategory = 'S' then 'text'
    when element.typcategory = 'S' then 'array'
    else 'unknown'
  end as kind,
  format_type(attribute.atttypid, null) as type_name,
  case when attribute.atttypmod > 4 and base.typcategory = 'S' then attribute.atttypmod - 4 end as max_length,
  case
    when namespace.nspname = 'public' and class.relname = 'users' and attribute.attname in ('username', 'email') then 'account'
    when attribute.attgenerated <> '' then 'generated'
    when exists (
      select
      from pg_catalog.pg_constraint
      where contype in ('p', 'f') and conrelid = class.oid and attribute.attnum = any (conkey)
        or contype = 'f' and confrelid = class.oid and attribute.attnum = any (confkey)
    ) then 'key'
    when exists (
      select
      from pg_catalog.pg_constraint
      where contype = 'c'
        and conrelid = class.oid
        and attribute.attnum = any (conkey)
        and pg_get_constraintdef(oid) ~ '= ANY \('
    ) then 'label'
    when exists (
      select from pg_catalog.pg_index where indisunique and indrelid = class.oid and attribute.attnum = any (indkey)
    ) then 'unique'
    when namespace.nspname = 'audit'
      and class.relname = 'audit_log'
      and attribute.attname in ('table_name', 'row_id', 'changed_fields', 'security_context') then 'fact'
    else 'text'
  end as content
from pg_catalog.pg_attribute as attribute
join pg_catalog.pg_class as class on class.oid = attribute.attrelid
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
join pg_catalog.pg_type as type on type.oid = attribute.atttypid
join pg_catalog.pg_type as base on base.oid = coalesce(nullif(type.typbasetype, 0), type.oid)
left join pg_catalog.pg_type as element on element.oid = base.typelem and base.typcategory = 'A'
where namespace.nspname in ('public', 'audit')
  and class.relkind in ('r', 'p')
  and not class.relispartition
  and class.relname not in ('pgmigrations', 'alembic_version')
  and attribute.attnum > 0
  and not attribute.attisdropped
  -- The name of a role or of an object, as the server knows it.
  and base.oid <> 'name'::regtype
  and (
    base.oid in ('json'::regtype, 'jsonb'::regtype, 'xml'::regtype)
    or base.typcategory in ('S', 'C')
    or element.typcategory in ('S', 'C')
    or element.oid in ('json'::regtype, 'jsonb'::regtype, 'xml'::regtype)
  )
  and not exists (
    select
    from pg_catalog.pg_depend
    where objid = class.oid and classid = 'pg_catalog.pg_class'::regclass and deptype = 'e'
  );

comment on column privacy.text_columns.content is
  'text: names and addresses go. unique: a value with an address is replaced as a whole. fact: what the trail itself wrote; addresses go. account, key, label, generated: never rewritten.';

drop function privacy.redact_reasons(jsonb, text[], text[]);
create or replace function maintenance.check_retention_policy() returns trigger
language plpgsql
-- With the rights of whoever writes the row, since that is the question.
set search_path = pg_catalog, pg_temp
as $$
declare
  v_by_owner boolean;
  v_problems text[];
begin
  -- Only what changes the meaning is looked at, so that a row from before can be switched off as it is.
  if tg_op = 'UPDATE'
    and (new.table_name, new.retention_period_days, new.policy_type, new.conditions)
      is not distinct from (old.table_name, old.retention_period_days, old.policy_type, old.conditions)
  then
    return new;
  end if;

  select pg_has_role(current_user, class.relowner, 'member') into v_by_owner from pg_class as class where class.oid = tg_relid;
  select array_agg(found.problem)
  into v_problems
  from maintenance.retention_problems(
    new.table_name, new.retention_period_days, new.policy_type, new.conditions, v_by_owner
  ) as found
  where found.is_refused;
  if v_problems is not null then
    raise exception e'The retention policy is not taken (% problems):\n- %',
      cardinality(v_problems), array_to_string(v_problems, e'\n- ')
      using
        errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name,
        hint = 'Views maintenance.retention_tables and maintenance.retention_columns say what a policy may name.';
  end if;
  return new;
end
$$;

drop trigger enterprise_audit_events_restamp on audit.enterprise_audit_events;
comment on column audit.enterprise_audit_events.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
drop trigger security_violations_restamp on audit.security_violations;
comment on column audit.security_violations.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
drop trigger threat_intelligence_events_restamp on audit.threat_intelligence_events;
comment on column audit.threat_intelligence_events.recorded_by is 'Role that added the entry, set by the server; null in entries from before it did so.';
drop function audit.restamp_entry();
