-- Phase: 4
-- Why: takes back that names like identifiers are looked for in the user's own rows only.
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
