-- Phase: 4
-- Why: a row whose text the server can't hold stopped every erasure, and one text that names a user thousands of times took minutes.
--   A username in the form of an address made others' addresses invalid; one that is also a word of passwords or settings
--   was taken out of those. A message with another's session_id handed their conversation over. And whoever may write policies
--   could lock their table while a run of retention was on its way.
-- Lock: ACCESS EXCLUSIVE on one materialized view to the end of the run: its readers wait for the first fill.

-- The indexed view is new, so nobody waits for its index.
-- squawk-ignore-file require-concurrent-index-creation

-- Called after a commit, where apply_retention's own limit is gone.
alter function maintenance.plan_retention(uuid, timestamptz) set lock_timeout = '500ms';

create view privacy.chat_session_users as
select session_id, user_id from public.chat_messages
union
select session_id, user_id from public.chat_session_summaries
union
select session_id, user_id from public.chat_mode_sessions
union
select session_id, user_id from public.multi_agent_conversations;

comment on view privacy.chat_session_users is 'Who has rows in which conversation; the application writes them.';
comment on column privacy.chat_session_users.session_id is 'Text identifier of a conversation.';
comment on column privacy.chat_session_users.user_id is 'User with a row in it.';

create or replace function privacy.chat_sessions_of(p_user_id integer) returns setof varchar
language sql
stable
begin atomic
  select mine.session_id
  from privacy.chat_session_users as mine
  where mine.user_id = p_user_id
    and not exists (
      select from privacy.chat_session_users as other where other.session_id = mine.session_id and other.user_id <> p_user_id
    );
end;

comment on function privacy.chat_sessions_of(integer) is
  'Text identifiers of the conversations that are a user''s alone. One in which somebody else has a row too is nobody''s: a message is enough to claim it.';

drop function privacy.sweep(integer, privacy.search, privacy.search);
drop function privacy.redact_reasons(jsonb, text[], text[]);
drop function privacy.redact_array(text[], text[], text[]);
drop function privacy.redact_json(json, text[], text[]);
drop function privacy.redact_json(jsonb, text[], text[]);
drop function privacy.redact_nested(jsonb, text[], text[]);
drop function privacy.redact(text, text[], text[]);

create or replace function privacy.pattern_of(p_term text, p_is_address boolean, p_any_case boolean default true) returns text
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
      -- First and last name are joined in many ways, and a text inside JSON has its white space as escapes.
      v_pattern := v_pattern
        || '(?:[\s\u00a0_.,+-]|\\+[nrtf]|\\+u00(?:0[9AaCcDd]|20|[Aa]0)|%(?:0[9AaDd]|20|[Cc]2%[Aa]0)|&nbsp;|&#(?:0*(?:32|160)|x0*(?:20|[Aa]0));)+';
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
              -- A text inside JSON that is itself a text inside JSON has its backslashes doubled.
              when encoding = 'json' and code < 65536 then '\\+u' || lpad(to_hex(code), 4, '0')
              when encoding = 'json' then
                '\\+u' || to_hex(55296 + ((code - 65536) >> 10)) || '\\+u' || to_hex(56320 + ((code - 65536) & 1023))
              -- Doubled and escaped, as in SQL and in JSON.
              when item.char = '\' then '\\+'
              -- Typed on a phone, an apostrophe is a quotation mark.
              when item.char in ('''', '’', '‘', 'ʼ') then
                '(?:\\*''{1,2}|[’‘ʼ]|%E2%80%9[89]|&(?:apos|[lr]squo|#0*821[67]|#x0*201[89]);|\\+u201[89])'
              when item.char = '-' then '[\u2010\u2011\u2013-]'
              when item.char = '"' then '\\*"{1,2}|&quot;'
              when item.char = '@' then '@|&commat;'
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

  if p_is_address then
    v_pattern := v_pattern || '(?![[:alnum:]]|\.[[:alnum:]]|-+[[:alnum:]])';
  elsif ascii(right(v_term, 1)) < 11904 then
    v_pattern := v_pattern || '(?![[:alnum:]\u0300-\u036f])';
  end if;
  return v_pattern;
end
$$;

comment on function privacy.pattern_of(text, boolean, boolean) is
  'Regular expression for a name or an address, up to the end of its word: composed and decomposed, and as it stands in URLs, JSON, HTML and SQL. For use behind privacy.edge_of, and with (?i) unless the case counts.';

create function privacy.edge_of(p_term text, p_is_address boolean) returns text
language sql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
return case
  -- Ann's address is no part of Joann's, nor her name of "annual". An escape in front is no letter of the word.
  when p_is_address then '((?<![[:alnum:]._%+-])[._%+-]*|%[0-9A-Fa-f]{2}|\\[nrtbf]|\\u[0-9A-Fa-f]{4})'
  when ascii(p_term) < 11904 then '((?<![[:alnum:]])|%[0-9A-Fa-f]{2}|\\[nrtbf]|\\u[0-9A-Fa-f]{4})'
  -- Scripts without spaces between words have no edges.
  else '()'
end;

comment on function privacy.edge_of(text, boolean) is
  'Regular expression for the left edge of a name or an address. Its group \1 stays: to look behind would read the text from its beginning for each match.';

-- What stands behind the @ of an address is no name: a user may be named like a mail provider.
create function privacy.outside_domains(p_value text) returns text
language sql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
return regexp_replace(p_value, '(?<=[[:alnum:]._%+-])@[[:alnum:].-]+', '@', 'g');

comment on function privacy.outside_domains(text) is 'The text without the domains of its addresses, where no name is looked for.';

create or replace function privacy.identity_of(p_user_id integer) returns table (kind text, term text)
language sql
stable
begin atomic
  with name as materialized (
    select
      candidate.name,
      candidate.is_whole,
      privacy.needle_of(candidate.name) as needle,
      case
        when length(candidate.name) <= 300 then privacy.edge_of(candidate.name, false) || privacy.pattern_of(candidate.name, false)
      end as pattern
    from public.users as account
    left join public.user_profiles as profile on profile.user_id = account.id
    cross join lateral (
      values
        (account.username::text, true),
        (profile.first_name::text, false),
        (profile.last_name::text, false),
        (profile.display_name::text, true),
        (profile.first_name || ' ' || profile.last_name, true),
        (profile.last_name || ' ' || profile.first_name, true),
        -- Scripts without spaces between words.
        (case when ascii(profile.last_name) >= 11904 then profile.last_name || profile.first_name end, true),
        (case when ascii(profile.last_name) >= 11904 then profile.first_name || profile.last_name end, true)
    ) as given (name, is_whole)
    cross join lateral (
      values (regexp_replace(given.name, '^\s+|\s+$', '', 'g'), given.is_whole)
    ) as candidate (name, is_whole)
    where account.id = p_user_id
      and candidate.name !~ '^[^\s@]+@[^\s@]+\.[^\s@]+$'
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
    union all
    -- A name in the form of an address is one.
    select id, btrim(username), false from public.users where btrim(username) ~ '^[^\s@]+@[^\s@]+\.[^\s@]+$'
    union all
    select user_id, btrim(display_name), false
    from public.user_profiles
    where btrim(display_name) ~ '^[^\s@]+@[^\s@]+\.[^\s@]+$'
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
      case
        when not address.is_own then 'further address'
        when privacy.own_address(p_user_id) is null then 'exact address'
        else 'address'
      end,
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
        -- A user may be named like a key, a hash, an address of the network or a browser, which stand in everybody's entries.
        and not pg_input_is_valid(name.name, 'uuid')
        and not pg_input_is_valid(name.name, 'inet')
        and name.name !~ '^[0-9A-Fa-f]{16,}$'
        and name.name !~ '^[A-Za-z]+/[0-9]'
        and not exists (
          select
          from public.users as other
          left join public.user_profiles as profile on profile.user_id = other.id
          cross join lateral concat_ws(
            '|', other.username, other.email, profile.display_name, profile.first_name || ' ' || profile.last_name,
            profile.last_name || ' ' || profile.first_name
          ) as names
          where other.id <> p_user_id
            and case
              when lower(names collate "C") like name.needle then privacy.outside_domains(names) ~* name.pattern
              else false
            end
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
  'What names a user: (exact, further) address and full name stand for nobody else and are looked for everywhere; name and phone only in rows that belong to the user. A name that looks like a key, a hash, an address of the network or a browser is looked for in rows of the user only. A name in the form of an address is an address. Common words are no names.';

alter type privacy.search add attribute setting_count integer;
comment on type privacy.search is
  'What privacy.sweep looks for and puts in its place: the first address_count patterns have an @; a row without any needle has no match. In a setting only the first setting_count, the account''s own address, are looked for in what has no white space; null anywhere else.';

create or replace function privacy.search_for(p_user_id integer) returns table (anywhere privacy.search, in_own_rows privacy.search)
language sql
stable
begin atomic
  with term as (
    select
      kind not in ('name', 'phone') as is_anywhere,
      kind = 'exact address' as is_exact,
      kind like '%address' as is_address,
      case
        when kind in ('address', 'exact address') then 'own address'
        when kind = 'further address' then 'address'
        when term ~ '@' then 'name with @'
        else 'name'
      end as class,
      case
        when kind = 'phone' then '()\+?(?<![0-9])'
        else privacy.edge_of(term, kind like '%address')
      end as edge,
      case
        when kind = 'phone' then regexp_replace(term, '(.)(?=.)', '\1[\s()/.-]*', 'g') || '(?![0-9])'
        else privacy.pattern_of(term, kind like '%address', kind <> 'exact address')
      end as pattern,
      case
        when kind = 'phone' then '%' || regexp_replace(term, '(.)', '\1%', 'g')
        else privacy.needle_of(term)
      end as needle,
      length(term) as length
    from privacy.identity_of(p_user_id)
  ),
  searched as (
    -- Few expressions, as the server remembers no more than 32. Of one's alternatives the longest counts: the full name
    -- before its first word.
    select
      is_anywhere,
      class,
      case when is_exact then '' else '(?i)' end
      || edge || '(?:' || string_agg(pattern, '|' order by length desc, pattern) || ')' as pattern,
      case when is_address then 'erased@erased.invalid' else 'erased' end as replacement,
      string_agg(needle, '|') as needles,
      array_position(array['own address', 'address', 'name with @', 'name'], class) as rank
    from term
    group by is_anywhere, is_exact, is_address, class, edge
  ),
  search as (
    select
      place.is_anywhere,
      row(
        array_agg(pattern order by rank, pattern),
        array_agg(replacement order by rank, pattern),
        string_to_array(string_agg(needles, '|'), '|'),
        count(*) filter (where class <> 'name'),
        count(*) filter (where class = 'own address')
      )::privacy.search as search
    from searched
    -- In rows of the user every name is looked for, in settings too.
    inner join (values (true), (false)) as place (is_anywhere)
      on searched.is_anywhere = place.is_anywhere or not place.is_anywhere and searched.class not like '%address'
    group by place.is_anywhere
  )
  select
    (select search from search where is_anywhere),
    (select search from search where not is_anywhere);
end;

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
    when class.relname = 'data_retention_policies' and attribute.attname in ('table_name', 'conditions') then 'policy'
    when class.relname = 'retention_approvals' then 'approval'
    when namespace.nspname = 'audit'
      and class.relname = 'audit_log'
      and attribute.attname in ('table_name', 'row_id', 'changed_fields', 'security_context') then 'fact'
    when attribute.attname ~ '(^|_)email(_address)?$' then 'address'
    when attribute.attname ~ '(password|secret|token|_hash|hash_value|_key|encrypted_value|signature|backup_codes)$'
      or attribute.attname ~ '(^|_)(model|llm)(_|$)'
      or attribute.attname ~ '(settings|config|configuration|configuration_data|weights|project_preferences)$'
      or class.relname = 'system_settings' and attribute.attname = 'value' then 'setting'
    else 'text'
  end as content
from pg_catalog.pg_attribute as attribute
join pg_catalog.pg_class as class on class.oid = attribute.attrelid
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
join pg_catalog.pg_type as type on type.oid = attribute.atttypid
join pg_catalog.pg_type as base on base.oid = coalesce(nullif(type.typbasetype, 0), type.oid)
left join pg_catalog.pg_type as element on element.oid = base.typelem and base.typcategory = 'A'
where (
    namespace.nspname in ('public', 'audit')
    or namespace.nspname = 'maintenance' and class.relname = 'retention_approvals' and attribute.attname = 'conditions'
  )
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
  'text: names and addresses go. address: from an address no name goes, as it is part of somebody else''s. setting: a secret, a hash, a model or a configuration; as a user may be named like one, names go from texts with white space, and from single words in rows of the user only; the account''s own address goes everywhere. unique: a value with an address is replaced as a whole. fact: what the trail itself wrote; addresses go. policy, approval: of what decides in a retention policy nothing changes once it is approved. account, key, label, generated: never rewritten.';

create function privacy.first_of(p_search privacy.search, p_count integer) returns privacy.search
language sql
immutable
set search_path = pg_catalog, pg_temp
return row(
  p_search.patterns[:p_count], p_search.replacements[:p_count], p_search.needles, least(p_search.address_count, p_count), null
)::privacy.search;

comment on function privacy.first_of(privacy.search, integer) is 'The search with its first patterns only.';

create function privacy.search_in(p_value text, p_search privacy.search) returns privacy.search
language sql
immutable
set search_path = pg_catalog, pg_temp
return case
  when p_search.setting_count is not null and p_value !~ '\s' then privacy.first_of(p_search, p_search.setting_count)
  else p_search
end;

comment on function privacy.search_in(text, privacy.search) is
  'What is looked for in a text: in a setting that is one word, as a key, a model or a hash, the account''s own address only.';

create function privacy.mentions(p_value text, p_search privacy.search) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  p_search := privacy.search_in(p_value, p_search);
  return coalesce(
    p_value ~ any (p_search.patterns[:p_search.address_count])
    or privacy.outside_domains(p_value) ~ any (p_search.patterns[p_search.address_count + 1:]),
    false
  );
end
$$;

comment on function privacy.mentions(text, privacy.search) is 'Whether a text has what is looked for.';

create function privacy.redact(p_value text, p_search privacy.search) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  p_search := privacy.search_in(p_value, p_search);
  for v_index in 1..p_search.address_count loop
    p_value := regexp_replace(p_value, p_search.patterns[v_index], '\1' || p_search.replacements[v_index], 'g');
  end loop;
  if p_search.address_count = cardinality(p_search.patterns) or p_value is null then
    return p_value;
  end if;
  -- Names between the domains of addresses.
  return (
    select string_agg(privacy.redact_names(part.part, p_search) || coalesce(domain.parts[1], ''), '' order by part.place)
    from regexp_split_to_table(p_value, '(?<=[[:alnum:]._%+-])@[[:alnum:].-]+') with ordinality as part (part, place)
    left join regexp_matches(p_value, '(?<=[[:alnum:]._%+-])@[[:alnum:].-]+', 'g') with ordinality as domain (parts, place)
      on domain.place = part.place
  );
end
$$;

comment on function privacy.redact(text, privacy.search) is 'The text with every match replaced.';

create function privacy.redact_names(p_value text, p_search privacy.search) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_index in p_search.address_count + 1..cardinality(p_search.patterns) loop
    p_value := regexp_replace(p_value, p_search.patterns[v_index], '\1' || p_search.replacements[v_index], 'g');
  end loop;
  return p_value;
end
$$;

comment on function privacy.redact_names(text, privacy.search) is 'Does the work of privacy.redact between domains; call that.';

create function privacy.text_of(p_value jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Of the value as it is in memory: what the table has may be a hundredth of it.
  v_size integer := pg_column_size(jsonb_path_query_first(p_value, 'strict $'));
begin
  -- As text a control character has six times as many bytes. A number has all its digits, and a hundred thousand of them need
  -- a few bytes here.
  if v_size > 4194304
    or v_size > 4096 and jsonb_path_exists(
      p_value,
      '$.** ? (@.type() == "number" && (@ >= 1e400 || @ <= -1e400 || @ > -1e-400 && @ < 1e-400 && @ != 0))'
    ) then
    return null;
  end if;
  return p_value::text;
exception
  when program_limit_exceeded or out_of_memory or internal_error then
    return null;
end
$$;

comment on function privacy.text_of(jsonb) is
  'The value as text; null where it is larger than 4 MiB, has numbers of more than 400 digits, or is nested too deeply to be looked through.';

create function privacy.text_of(p_value json) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if octet_length(p_value::text) > 4194304 then
    return null;
  end if;
  -- As jsonb, which has no escape for what needs none.
  if pg_input_is_valid(p_value::text, 'jsonb') then
    return privacy.text_of(p_value::jsonb);
  end if;
  return p_value::text;
exception
  when program_limit_exceeded or out_of_memory or internal_error then
    return null;
end
$$;

comment on function privacy.text_of(json) is 'The same for json, without escapes where jsonb can hold it.';

create function privacy.text_of(p_value text[]) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_column_size(p_value || '{}'::text[]) > 16777216 then
    return null;
  end if;
  return array_to_string(p_value, e'\x1f');
exception
  when program_limit_exceeded or out_of_memory or internal_error then
    return null;
end
$$;

comment on function privacy.text_of(text[]) is 'The elements of an array of any shape as text; null where it is larger than 16 MiB.';

create function privacy.redact_nested(p_value jsonb, p_search privacy.search) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(p_value)
    when 'string' then
      return to_jsonb(privacy.redact(p_value #>> '{}', p_search));
    when 'array' then
      return coalesce(
        (
          select jsonb_agg(privacy.redact_nested(value, p_search) order by place)
          from jsonb_array_elements(p_value) with ordinality as item (value, place)
        ),
        '[]'
      );
    when 'object' then
      -- Two keys that become the same stay two.
      return coalesce(
        (
          select jsonb_object_agg(
            case when twin = 1 then redacted else redacted || ' ' || twin end, privacy.redact_nested(value, p_search)
          )
          from (
            select value, redacted, row_number() over (partition by redacted order by redacted <> key, key) as twin
            from jsonb_each(p_value) as field (key, value)
            cross join lateral privacy.redact(key, p_search) as redacted
          ) as field
        ),
        '{}'
      );
    else
      return p_value;
  end case;
end
$$;

comment on function privacy.redact_nested(jsonb, privacy.search) is 'Does the work of privacy.redact_json; call that.';

create function privacy.redact_json(p_value jsonb, p_search privacy.search) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value is null or not privacy.mentions(privacy.text_of(p_value), p_search) then
    return p_value;
  end if;
  return privacy.redact_nested(p_value, p_search);
exception
  -- Nobody can make an erasure fail by nesting a name deeply enough.
  when statement_too_complex then
    return '{"erased": true}';
end
$$;

comment on function privacy.redact_json(jsonb, privacy.search) is
  'The value with every match replaced in texts and in keys. One nested too deeply to be walked goes as a whole.';

create function privacy.redact_json(p_value json, p_search privacy.search) returns json
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value is null or not privacy.mentions(privacy.text_of(p_value), p_search) then
    return p_value;
  end if;
  -- jsonb has no \u0000; no pattern matches one, nor what JSON is held together by.
  if not pg_input_is_valid(p_value::text, 'jsonb') then
    return privacy.redact(p_value::text, p_search)::json;
  end if;
  return privacy.redact_json(p_value::jsonb, p_search)::json;
exception
  when invalid_text_representation then
    return '{"erased": true}';
end
$$;

comment on function privacy.redact_json(json, privacy.search) is 'The same for json; a value without a match stays as it was written.';

create function privacy.redact_array(p_value text[], p_search privacy.search) returns text[]
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  -- By way of JSON, which has arrays of any shape.
  select elements
  from jsonb_to_record(jsonb_build_object('elements', privacy.redact_json(to_jsonb(p_value), p_search))) as redacted (elements text[]);
$$;

comment on function privacy.redact_array(text[], privacy.search) is 'The array with every match replaced in its elements.';

create function privacy.redact_reasons(p_value jsonb, p_search privacy.search) returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(
      jsonb_object_agg(
        key, case when key in ('column', 'match', 'set') then value else privacy.redact_json(value, p_search) end
      ),
      '{}'
    )
  from jsonb_each(p_value);
$$;

comment on function privacy.redact_reasons(jsonb, privacy.search) is
  'The conditions of an approved retention policy with every match replaced, but not in what decides which rows go: column, match and set.';

create function privacy.with_nothing(p_search privacy.search) returns privacy.search
language sql
immutable
set search_path = pg_catalog, pg_temp
return row(
  p_search.patterns, array_fill(''::text, array[cardinality(p_search.patterns)]), p_search.needles, p_search.address_count,
  p_search.setting_count
)::privacy.search;

comment on function privacy.with_nothing(privacy.search) is 'The search that puts nothing in the place of what it finds.';

create function privacy.note_unsearched(p_table text, p_key text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_noted jsonb := coalesce(nullif(current_setting('aiwdb.unsearched', true), ''), '{}');
  v_keys jsonb := coalesce(v_noted -> p_table, '[]');
begin
  if not v_keys ? p_key and jsonb_array_length(v_keys) < 1000 then
    perform set_config('aiwdb.unsearched', (v_noted || jsonb_build_object(p_table, v_keys || to_jsonb(p_key)))::text, true);
  end if;
  return false;
end
$$;

comment on function privacy.note_unsearched(text, text) is
  'Writes down the key of what was left, as a row that is too large to be searched, the first 1000 of a table, for privacy.remove_user to tell; gives false.';

create function privacy.sweep(p_user_id integer, p_anywhere privacy.search, p_in_own_rows privacy.search) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table record;
  v_search privacy.search;
  v_addresses privacy.search;
  v_settings privacy.search;
  v_is_anywhere boolean;
  v_filter text;
  v_update text;
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
              'case when entry.%1$I ~ any (($4).patterns) then left(''erased-'' || gen_random_uuid(), %3$s) else entry.%1$I end'
            when place.content = 'approval' then 'privacy.redact_reasons(entry.%1$I, %2$s)'
            when place.content = 'policy' then
              'case '
              'when not exists (select from maintenance.retention_status where policy_id = entry.id and state = ''approved'') '
              || case
                when place.kind = 'jsonb' then
                  'then privacy.redact_json(entry.%1$I, %2$s) else privacy.redact_reasons(entry.%1$I, %2$s) end'
                else 'then left(privacy.redact(entry.%1$I, %2$s), %3$s) else entry.%1$I end'
              end
            when place.kind = 'text' then 'left(privacy.redact(entry.%1$I, %2$s), %3$s)'
            when place.kind = 'array' then 'privacy.redact_array(entry.%1$I::text[], %2$s)::%4$s'
            else 'privacy.redact_json(entry.%1$I, %2$s)'
          end,
          place.column_name,
          place.search,
          coalesce(place.max_length, 2147483647),
          place.type_name
        ),
        ', ' order by place.column_number
      ) as assignments,
      string_agg(
        format(
          case
            when place.kind = 'text' then 'coalesce(entry.%1$I, '''') as v%2$s'
            else 'case when entry.%1$I is null then '''' else privacy.text_of(entry.%1$I) end as v%2$s'
          end,
          place.column_name,
          place.column_number
        ),
        ', '
      ) as texts,
      string_agg(format('octet_length(v%s)', place.column_number), ' + ') as size,
      format('concat_ws(e''\x1f'', %s)', string_agg(format('v%s', place.column_number), ', ')) as whole,
      string_agg(
        format('privacy.mentions(v%s, %s)', place.column_number, place.search)
        -- What stands in the text of a JSON value may stay in the value, as a key that is one word.
        || case
          when place.kind in ('json', 'jsonb') and place.content in ('text', 'setting') then
            format(' and privacy.redact_json(entry.%1$I, %2$s)::text is distinct from entry.%1$I::text', place.column_name, place.search)
          else ''
        end,
        ' or '
      ) as mentions,
      (
        select format('concat_ws('', '', %s)', string_agg(format('entry.%I', attname), ', ' order by attnum))
        from pg_catalog.pg_index
        inner join pg_catalog.pg_attribute on attrelid = indrelid and attnum = any (indkey)
        where indrelid = place.table_name::regclass and indisprimary
      ) as key,
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
    from (
      select
        text_columns.*,
        case
          -- A name may be part of an identifier by chance; an address is not.
          when content in ('unique', 'fact') then '$4'
          when content = 'address' then format('case when entry.%I like ''%%@%%'' then $4 else $3 end', column_name)
          when content = 'setting' then '$5'
          else '$3'
        end as search
      from privacy.text_columns
      where kind <> 'unknown' and content in ('text', 'address', 'setting', 'unique', 'fact', 'policy', 'approval')
    ) as place
    group by place.table_name
    -- Approvals after the policies that are compared with them, and the trail last.
    order by
      array_position(array['maintenance.retention_approvals', 'audit.audit_log'], place.table_name) nulls first,
      place.table_name
  loop
    v_started := clock_timestamp();
    v_rows := 0;
    foreach v_search in array array[p_anywhere, p_in_own_rows] loop
      v_is_anywhere := v_search is not distinct from p_anywhere;
      v_filter := case when v_is_anywhere then 'true' else v_table.is_own end;
      continue when v_search.patterns is null or v_filter is null;
      v_settings := v_search;
      v_search.setting_count := null;
      if not v_is_anywhere then
        v_settings := v_search;
      end if;
      v_addresses := privacy.first_of(v_search, v_search.address_count);
      -- Each value becomes a text once, and most rows need one look. A row of more than 16 MiB is not searched: an expression
      -- needs four bytes for a character and more for what it puts in, of a server that may have 512 MiB.
      v_update := format(
        'update %1$s as entry set %2$s where (%3$s) and %4$s and ('
        'select case '
        'when coalesce(%5$s > 16777216, true) then privacy.note_unsearched(%6$L, %7$s) '
        'when lower(%8$s collate "C") like any ($2) then %9$s '
        'else false end '
        'from (select %10$s offset 0) as part)',
        v_table.table_name, v_table.assignments, v_filter, v_table.is_free, v_table.size, v_table.table_name,
        coalesce(v_table.key, 'entry.ctid::text'), v_table.whole, v_table.mentions, v_table.texts
      );
      begin
        begin
          execute v_update using p_user_id, v_search.needles, v_search, v_addresses, v_settings;
        exception
          -- An index, or the server, has no room for a longer text. One without the name is shorter.
          when program_limit_exceeded or internal_error or out_of_memory then
            execute v_update
            using
              p_user_id, v_search.needles, privacy.with_nothing(v_search), privacy.with_nothing(v_addresses),
              privacy.with_nothing(v_settings);
        end;
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

create or replace function privacy.remove_user(p_user_id integer, p_erase boolean, p_request_id uuid) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry record;
  v_action text;
  v_set text;
  v_rows bigint;
  v_counts jsonb := '{}';
  v_texts jsonb;
  v_unsearched jsonb;
  v_search record;
  v_maintenance text := current_setting('aiwdb.maintenance', true);
  v_what text := case when p_erase then 'erased' else 'pseudonymised' end;
begin
  -- Locked, so that nobody logs in half-way.
  perform from public.users where id = p_user_id for update;
  if not found then
    raise exception 'There is no user %, so nothing can be %.', p_user_id, v_what
      using errcode = 'no_data_found', hint = 'The key is public.users.id.';
  end if;

  if exists (
    select
    from public.forensic_investigations
    where legal_hold and status <> 'CLOSED' and p_user_id = any (affected_users)
  ) then
    raise exception 'User % is under a legal hold and can''t be %.', p_user_id, v_what
      using
        errcode = 'object_in_use',
        detail = 'An open case in public.forensic_investigations names the user in affected_users.',
        hint = 'Close the case or lift its legal hold first.';
  end if;

  -- While the account still knows it.
  select * into v_search from privacy.search_for(p_user_id);
  -- What goes must not live on in the trail: the entries of what is done here have no values.
  perform set_config('aiwdb.maintenance', 'retention', true);
  perform set_config('aiwdb.unsearched', '', true);
  perform privacy.note_unsearched('conversations of several users', mine.session_id)
  from privacy.chat_session_users as mine
  where mine.user_id = p_user_id
    and exists (
      select from privacy.chat_session_users as other where other.session_id = mine.session_id and other.user_id <> p_user_id
    );

  for v_entry in select * from privacy.user_data order by step loop
    v_action := case when p_erase then v_entry.on_erase else v_entry.on_pseudonymise end;
    continue when v_action = 'keep';

    if v_action = 'delete' then
      execute format('delete from %s where %s', v_entry.table_name, v_entry.filter) using p_user_id;
    else
      select string_agg(format('%I = %L', key, replace(value, '{uuid}', gen_random_uuid()::text)), ', ')
      into v_set
      from jsonb_each_text(v_entry.scrub);
      execute format('update %s set %s where %s', v_entry.table_name, v_set, v_entry.filter) using p_user_id;
    end if;
    get diagnostics v_rows = row_count;

    if v_rows > 0 then
      v_counts := v_counts || jsonb_build_object(
        v_entry.table_name, coalesce((v_counts ->> v_entry.table_name)::bigint, 0) + v_rows
      );
    end if;
  end loop;

  v_texts := privacy.sweep(p_user_id, v_search.anywhere, v_search.in_own_rows);
  v_unsearched := nullif(current_setting('aiwdb.unsearched'), '');
  perform set_config('aiwdb.maintenance', coalesce(v_maintenance, ''), true);

  insert into audit.enterprise_audit_events (
    event_id, event_type, event_category, event_severity, event_timestamp, user_id, service_name, event_description,
    event_outcome, affected_resources, event_context, compliance_relevant, compliance_standards
  )
  values (
    gen_random_uuid()::text,
    case when p_erase then 'USER_ERASED' else 'USER_PSEUDONYMISED' end,
    'COMPLIANCE_EVENT',
    'MEDIUM',
    now(),
    p_user_id,
    case when p_erase then 'privacy.erase_user' else 'privacy.pseudonymise_user' end,
    format('The data of user %s was %s.', p_user_id, v_what),
    'SUCCESS',
    array(select jsonb_object_keys(v_counts)),
    jsonb_strip_nulls(
      jsonb_build_object(
        'rows', v_counts, 'texts', v_texts,
        -- Not the keys, which may be made of the user's name.
        'unsearched', (select jsonb_object_agg(key, jsonb_array_length(value)) from jsonb_each(v_unsearched)),
        'request_id', p_request_id, 'db_role', session_user
      )
    ),
    true,
    array['GDPR']
  );

  return jsonb_build_object(
    'user_id', p_user_id, 'action', v_what, 'rows', v_counts, 'texts', v_texts, 'unsearched', coalesce(v_unsearched, '{}')
  );
end
$$;

comment on function privacy.erase_user(integer, uuid) is
  'Deletes what is about a user, scrubs the logs that stay as proof, takes the user''s address and full name out of the texts of every table, and leaves a nameless row in users. Returns the rows touched per table, the texts rewritten per table, and the keys of what was left: rows whose text is larger than 16 MiB, and conversations in which others have rows; leaves an event in audit.enterprise_audit_events. Refused under a legal hold.';

drop materialized view public.security_metrics_summary;
create materialized view public.security_metrics_summary as
select
  (recorded_at at time zone 'UTC')::date as day,
  metric_name,
  metric_type,
  coalesce(service_name, '') as service_name,
  count(*) as samples,
  min(metric_value) as minimum,
  -- The mean keeps a sum of squares that grows with the square of their number, and beyond the type's range stops the refresh;
  -- infinity and NaN don't.
  avg(metric_value) filter (where abs(metric_value) < 1e140 or abs(metric_value) >= 'infinity') as average,
  max(metric_value) as maximum,
  count(*) filter (where threshold_violated) as violations
from audit.security_metrics
group by 1, 2, 3, 4;

create unique index security_metrics_summary_day_metric_key
on public.security_metrics_summary (day, metric_name, metric_type, service_name);

comment on materialized view public.security_metrics_summary is 'Security metrics per day (UTC), metric and service. Written by maintenance.refresh_views.';
comment on column public.security_metrics_summary.day is 'Day, UTC.';
comment on column public.security_metrics_summary.metric_name is 'Name of the metric.';
comment on column public.security_metrics_summary.metric_type is 'Kind of metric.';
comment on column public.security_metrics_summary.service_name is 'Service; empty for none.';
comment on column public.security_metrics_summary.samples is 'Values recorded.';
comment on column public.security_metrics_summary.minimum is 'Lowest value.';
comment on column public.security_metrics_summary.average is 'Mean value, without values of 1e140 and more.';
comment on column public.security_metrics_summary.maximum is 'Highest value.';
comment on column public.security_metrics_summary.violations is 'Values out of bounds.';

revoke execute on function privacy.edge_of(text, boolean) from public;
revoke execute on function privacy.outside_domains(text) from public;
revoke execute on function privacy.first_of(privacy.search, integer) from public;
revoke execute on function privacy.search_in(text, privacy.search) from public;
revoke execute on function privacy.mentions(text, privacy.search) from public;
revoke execute on function privacy.redact(text, privacy.search) from public;
revoke execute on function privacy.redact_names(text, privacy.search) from public;
revoke execute on function privacy.text_of(jsonb) from public;
revoke execute on function privacy.text_of(json) from public;
revoke execute on function privacy.text_of(text[]) from public;
revoke execute on function privacy.redact_nested(jsonb, privacy.search) from public;
revoke execute on function privacy.redact_json(jsonb, privacy.search) from public;
revoke execute on function privacy.redact_json(json, privacy.search) from public;
revoke execute on function privacy.redact_array(text[], privacy.search) from public;
revoke execute on function privacy.redact_reasons(jsonb, privacy.search) from public;
revoke execute on function privacy.with_nothing(privacy.search) from public;
revoke execute on function privacy.note_unsearched(text, text) from public;
revoke execute on function privacy.sweep(integer, privacy.search, privacy.search) from public;
