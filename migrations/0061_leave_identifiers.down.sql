-- Phase: 4
-- Why: takes back that names like identifiers are looked for in the user's own rows only, and names not in addresses.
-- Lock: none that anyone waits for.

create or replace function privacy.identity_of(p_user_id integer) returns table (kind text, term text)
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
