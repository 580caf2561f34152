-- Phase: 4
-- Why: erasure left the user's name and address wherever a text mentions them. What is searched for and in which columns
--   comes from the account and from the catalogue, so that a new column needs no word here.
-- Lock: none that anyone waits for: what is made here is new.

create function privacy.own_address(p_user_id integer) returns text
language sql
stable
begin atomic
  select lower(account.email)
  from public.users as account
  where account.id = p_user_id
    and not exists (
      select from public.users as other where other.id <> account.id and lower(other.email) = lower(account.email)
    );
end;

comment on function privacy.own_address(integer) is
  'A user''s address in lower case; null where another account has the same but for its case, so that only the exact spelling is the user''s.';

create function privacy.own_name(p_user_id integer) returns text
language sql
stable
begin atomic
  select lower(account.username)
  from public.users as account
  where account.id = p_user_id
    and not exists (
      select from public.users as other where other.id <> account.id and lower(other.username) = lower(account.username)
    );
end;

comment on function privacy.own_name(integer) is
  'A user''s username in lower case; null where another account has the same but for its case.';

-- One expression per term, so that what a program made of it on the way is found too.
create function privacy.pattern_of(p_term text, p_is_address boolean, p_any_case boolean default true) returns text
language plpgsql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_term text := normalize(regexp_replace(btrim(p_term), '\s+', ' ', 'g'), NFC);
  v_char text;
  v_form text;
  v_pattern text := '';
begin
  foreach v_char in array string_to_array(v_term, null) loop
    if v_char ~ '^[A-Za-z0-9]$' then
      v_pattern := v_pattern || v_char;
    elsif v_char = ' ' then
      -- First and last name are joined in many ways.
      v_pattern := v_pattern || '(?:[\s\u00a0_.,+-]|%20|&nbsp;)+';
    else
      select '(?:' || string_agg(distinct spelled.form, '|') || ')'
      into v_form
      from (
        select
          string_agg(
            case
              when item.char ~ '^[A-Za-z0-9]$' then item.char
              when encoding = 'url' then regexp_replace(encode(convert_to(item.char, 'UTF8'), 'hex'), '(..)', '%\1', 'g')
              when encoding = 'html' then format('&#(?:0*%s|x0*%s);', code, to_hex(code))
              when encoding = 'json' and code < 65536 then '\\u' || lpad(to_hex(code), 4, '0')
              when encoding = 'json' then
                '\\u' || to_hex(55296 + ((code - 65536) >> 10)) || '\\u' || to_hex(56320 + ((code - 65536) & 1023))
              -- Doubled and escaped, as in SQL and in JSON.
              when item.char = '\' then '\\+'
              when item.char in ('"', '''') then '\\*' || item.char || '{1,2}'
              when item.char ~ '[[:alnum:]]' then item.char
              else '\' || item.char
            end,
            '' order by item.place
          ) as form
        from (
          select cased as composed
          from unnest(case when p_any_case then array[v_char, lower(v_char), upper(v_char)] else array[v_char] end) as cased
          union
          select normalize(cased, NFD)
          from unnest(case when p_any_case then array[v_char, lower(v_char), upper(v_char)] else array[v_char] end) as cased
        ) as variant
        cross join unnest(array['none', 'url', 'html', 'json']) as encoding
        cross join lateral unnest(string_to_array(composed, null)) with ordinality as item (char, place)
        cross join lateral ascii(item.char) as code
        group by composed, encoding
      ) as spelled;
      v_pattern := v_pattern || v_form;
    end if;
  end loop;

  -- Ann's address is no part of Joann's, nor her name of "annual". An escape in front is no letter of the word. Scripts
  -- without spaces between words have no such edges.
  if p_is_address or ascii(v_term) < 11904 then
    v_pattern := case
      when p_is_address then '(?:(?<![[:alnum:]][._%+-]*)'
      else '(?:(?<![[:alnum:]])'
    end || '|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4}))' || v_pattern;
  end if;
  if p_is_address then
    v_pattern := v_pattern || '(?![[:alnum:]]|\.[[:alnum:]]|-+[[:alnum:]])';
  elsif ascii(right(v_term, 1)) < 11904 then
    v_pattern := v_pattern || '(?![[:alnum:]\u0300-\u036f])';
  end if;
  return v_pattern;
end
$$;

comment on function privacy.pattern_of(text, boolean, boolean) is
  'Regular expression for a name or an address as a whole word: composed and decomposed, and as it stands in URLs, JSON, HTML and SQL. For use with (?i), unless the case counts.';

create function privacy.needle_of(p_term text) returns text
language sql
immutable
strict
parallel safe
return '%' || btrim(regexp_replace(lower(normalize(p_term, NFC) collate "C"), '[^a-z0-9]+', '%', 'g'), '%') || '%';

comment on function privacy.needle_of(text) is
  'What lower(text collate "C") is like in every spelling that privacy.pattern_of finds: rows without it need no look at the expression, which is ten times slower.';

create function privacy.is_common_word(p_word text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    lower(p_word) in (
      'admin', 'administrator', 'anonymous', 'assistant', 'default', 'demo', 'erased', 'error', 'failed', 'false', 'guest', 'info',
      'login', 'none', 'null', 'owner', 'root', 'service', 'success', 'support', 'system', 'test', 'tester', 'true', 'unknown',
      'user', 'username'
    )
    or to_tsvector('pg_catalog.english', p_word) = ''
    or exists (select from pg_roles where lower(rolname) = lower(p_word))
    or exists (select from pg_enum where lower(enumlabel) = lower(p_word))
    or exists (
      select
      from pg_class as class
      join pg_namespace as namespace on namespace.oid = class.relnamespace
      left join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attnum > 0
      where namespace.nspname in ('public', 'audit', 'partitions')
        and lower(p_word) in (lower(class.relname), lower(attribute.attname))
    )
    or exists (
      select
      from pg_constraint
      where contype = 'c' and position(lower(quote_literal(p_word)) in lower(pg_get_constraintdef(oid))) > 0
    )
    or exists (
      select
      from pg_attrdef
      where position(lower(quote_literal(p_word)) in lower(pg_get_expr(adbin, adrelid))) > 0
    );
$$;

comment on function privacy.is_common_word(text) is
  'Whether a name is also a word of the language or of the schema (a table, a column, a label, a default), which stands in texts without meaning the user.';

create function privacy.identity_of(p_user_id integer) returns table (kind text, term text)
language sql
stable
begin atomic
  with name as materialized (
    select
      btrim(candidate.name) as name,
      candidate.is_whole,
      privacy.needle_of(candidate.name) as needle,
      case when length(candidate.name) <= 300 then privacy.pattern_of(candidate.name, false) end as pattern
    from public.users as account
    left join public.user_profiles as profile on profile.user_id = account.id
    cross join lateral (
      values
        (account.username::text, true),
        (profile.first_name::text, false),
        (profile.last_name::text, false),
        (profile.display_name::text, true),
        (profile.first_name || ' ' || profile.last_name, true),
        (profile.last_name || ' ' || profile.first_name, true)
    ) as candidate (name, is_whole)
    where account.id = p_user_id
  ),
  account_address (user_id, address, is_own) as (
    select id, email::text, true from public.users
    union all
    select user_id, work_email, false from public.user_profiles
    union all
    select user_id, service_email, false from public.user_oauth_tokens
    union all
    select user_id, email_address, false from public.user_email_two_factor
    union all
    select user_id, recovery_email, false from public.user_two_factor_auth
    union all
    select user_id, notification_email, false from public.user_two_factor_settings
  ),
  address as (
    select mine.address, mine.is_own
    from account_address as mine
    where mine.user_id = p_user_id
      -- Anybody may write anybody's address into their profile.
      and (
        mine.is_own
        or not exists (
          select
          from account_address as other
          where other.user_id <> mine.user_id and lower(other.address) = lower(mine.address)
        )
      )
  ),
  phone as (
    select regexp_replace(candidate.phone, '[^0-9]', '', 'g') as digits
    from (
      select phone_number from public.user_profiles where user_id = p_user_id
      union
      select alternate_phone from public.user_profiles where user_id = p_user_id
      union
      select work_phone from public.user_profiles where user_id = p_user_id
      union
      select phone_number from public.user_sms_two_factor where user_id = p_user_id
      union
      select recovery_phone from public.user_two_factor_auth where user_id = p_user_id
    ) as candidate (phone)
  )
  (
    select
      case when address.is_own and privacy.own_address(p_user_id) is null then 'exact address' else 'address' end,
      address.address
    from address
    where address.address like '%_@_%' and length(address.address) <= 300
    order by address.is_own desc
    limit 50
  )
  union
  select
    case
      -- Two words, or a word with digits: nobody writes that and means something else. A namesake's stays.
      when name.is_whole
        and length(name.name) >= 6
        and name.name ~ '[[:alpha:]].*[\s._].*[[:alnum:]]|[[:alpha:]][0-9]'
        and not exists (
          select
          from public.users as other
          left join public.user_profiles as profile on profile.user_id = other.id
          cross join lateral concat_ws(
            '|', other.username, other.email, profile.display_name, profile.first_name || ' ' || profile.last_name,
            profile.last_name || ' ' || profile.first_name
          ) as names
          where other.id <> p_user_id
            and case when lower(names collate "C") like name.needle then names ~* name.pattern else false end
        )
        then 'full name'
      else 'name'
    end,
    name.name
  from name
  where name.name ~ '[[:alpha:]]'
    -- A name in Chinese has two characters.
    and length(name.name) between case when name.name ~ '^[ -~]*$' then 3 else 2 end and 300
    and not privacy.is_common_word(name.name)
  union
  select 'phone', phone.digits
  from phone
  where length(phone.digits) between 7 and 20;
end;

comment on function privacy.identity_of(integer) is
  'What names a user: (exact) address and full name stand for nobody else and are looked for everywhere; name and phone only in rows that belong to the user. Common words are no names.';

create type privacy.search as (patterns text[], replacements text[], needles text[], address_count integer);
comment on type privacy.search is
  'What privacy.sweep looks for and puts in its place, addresses first; a row without any needle has no match.';

create function privacy.search_for(p_user_id integer) returns table (anywhere privacy.search, in_own_rows privacy.search)
language sql
stable
begin atomic
  with searched as (
    select
      kind not in ('name', 'phone') as is_anywhere,
      kind like '%address' as is_address,
      case when kind = 'exact address' then '' else '(?i)' end
      || string_agg(
        case
          when kind = 'phone' then '\+?(?<![0-9])' || regexp_replace(term, '(.)(?=.)', '\1[\s()/.-]*', 'g') || '(?![0-9])'
          else privacy.pattern_of(term, kind like '%address', kind <> 'exact address')
        end,
        -- The full name before its first word.
        '|' order by length(term) desc, term
      ) as pattern,
      case when kind like '%address' then 'erased@erased.invalid' else 'erased' end as replacement,
      string_agg(
        case
          when kind = 'phone' then '%' || regexp_replace(term, '(.)', '\1%', 'g')
          else privacy.needle_of(term)
        end, '|'
      ) as needles
    from privacy.identity_of(p_user_id)
    group by kind
  ),
  search as (
    select
      is_anywhere,
      row(
        array_agg(pattern order by is_address desc, pattern),
        array_agg(replacement order by is_address desc, pattern),
        string_to_array(string_agg(needles, '|'), '|'),
        count(*) filter (where is_address)
      )::privacy.search as search
    from searched
    group by is_anywhere
  )
  select
    (select search from search where is_anywhere),
    (select search from search where not is_anywhere);
end;

comment on function privacy.search_for(integer) is
  'The user''s identity as regular expressions: what may go anywhere, and what only from rows that belong to the user.';

create view privacy.text_columns as
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

comment on view privacy.text_columns is
  'Every column that can hold a name, from the catalogue, and what removing it may do there.';
comment on column privacy.text_columns.table_name is 'Table with its schema.';
comment on column privacy.text_columns.column_name is 'Column.';
comment on column privacy.text_columns.column_number is 'Its place in the table.';
comment on column privacy.text_columns.kind is 'text, array, json or jsonb; unknown for what removing does not know yet.';
comment on column privacy.text_columns.type_name is 'Its type, without a length.';
comment on column privacy.text_columns.max_length is 'Characters it may hold; null for no limit.';
comment on column privacy.text_columns.content is
  'text: names and addresses go. unique: a value with an address is replaced as a whole. fact: what the trail itself wrote; addresses go. account, key, label, generated: never rewritten.';

create function privacy.redact(p_value text, p_patterns text[], p_replacements text[]) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_index in 1..cardinality(p_patterns) loop
    p_value := regexp_replace(p_value, p_patterns[v_index], p_replacements[v_index], 'g');
  end loop;
  return p_value;
end
$$;

comment on function privacy.redact(text, text[], text[]) is 'The text with each pattern''s matches replaced; no replacement may hold a backslash.';

create function privacy.redact_nested(p_value jsonb, p_patterns text[], p_replacements text[]) returns jsonb
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(p_value)
    when 'string' then
      return to_jsonb(privacy.redact(p_value #>> '{}', p_patterns, p_replacements));
    when 'array' then
      return coalesce(
        (
          select jsonb_agg(privacy.redact_nested(value, p_patterns, p_replacements) order by place)
          from jsonb_array_elements(p_value) with ordinality as item (value, place)
        ),
        '[]'
      );
    when 'object' then
      -- Two keys that become the same stay two.
      return coalesce(
        (
          select jsonb_object_agg(
            case when twin = 1 then redacted else redacted || ' ' || twin end,
            privacy.redact_nested(value, p_patterns, p_replacements)
          )
          from (
            select value, redacted, row_number() over (partition by redacted order by redacted <> key, key) as twin
            from jsonb_each(p_value) as field (key, value)
            cross join lateral privacy.redact(key, p_patterns, p_replacements) as redacted
          ) as field
        ),
        '{}'
      );
    else
      return p_value;
  end case;
end
$$;

comment on function privacy.redact_nested(jsonb, text[], text[]) is 'Does the work of privacy.redact_json; call that.';

create function privacy.redact_json(p_value jsonb, p_patterns text[], p_replacements text[]) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value is null or not p_value::text ~ any (p_patterns) then
    return p_value;
  end if;
  return privacy.redact_nested(p_value, p_patterns, p_replacements);
exception
  -- Nobody can make an erasure fail by nesting a name deeply enough.
  when statement_too_complex then
    return '{"erased": true}';
end
$$;

comment on function privacy.redact_json(jsonb, text[], text[]) is
  'The value with each pattern''s matches replaced in texts and in keys. One nested too deeply to be walked goes as a whole.';

create function privacy.redact_json(p_value json, p_patterns text[], p_replacements text[]) returns json
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value is null or not p_value::text ~ any (p_patterns) then
    return p_value;
  end if;
  -- jsonb has no \u0000; no pattern matches one, nor what JSON is held together by.
  if not pg_input_is_valid(p_value::text, 'jsonb') then
    return privacy.redact(p_value::text, p_patterns, p_replacements)::json;
  end if;
  return privacy.redact_json(p_value::jsonb, p_patterns, p_replacements)::json;
exception
  when invalid_text_representation then
    return '{"erased": true}';
end
$$;

comment on function privacy.redact_json(json, text[], text[]) is 'The same for json; a value without a match stays as it was written.';

create function privacy.redact_array(p_value text[], p_patterns text[], p_replacements text[]) returns text[]
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  -- By way of JSON, which has arrays of any shape.
  select elements
  from jsonb_to_record(
    jsonb_build_object('elements', privacy.redact_json(to_jsonb(p_value), p_patterns, p_replacements))
  ) as redacted (elements text[]);
$$;

comment on function privacy.redact_array(text[], text[], text[]) is 'The array with each pattern''s matches replaced in its elements.';

create function privacy.sweep(p_user_id integer, p_anywhere privacy.search, p_in_own_rows privacy.search) returns jsonb
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

comment on function privacy.sweep(integer, privacy.search, privacy.search) is
  'Goes through every table and replaces what is searched for: anywhere, and in rows that belong to the user. Returns rows and milliseconds per table in which something was found. Open cases under a legal hold are left alone.';

revoke execute on function privacy.own_address(integer) from public;
revoke execute on function privacy.own_name(integer) from public;
revoke execute on function privacy.pattern_of(text, boolean, boolean) from public;
revoke execute on function privacy.needle_of(text) from public;
revoke execute on function privacy.is_common_word(text) from public;
revoke execute on function privacy.identity_of(integer) from public;
revoke execute on function privacy.redact(text, text[], text[]) from public;
revoke execute on function privacy.redact_nested(jsonb, text[], text[]) from public;
revoke execute on function privacy.redact_json(jsonb, text[], text[]) from public;
revoke execute on function privacy.redact_json(json, text[], text[]) from public;
revoke execute on function privacy.redact_array(text[], text[], text[]) from public;
revoke execute on function privacy.search_for(integer) from public;
revoke execute on function privacy.sweep(integer, privacy.search, privacy.search) from public;
