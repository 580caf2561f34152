-- Phase: 4
-- Why: back to 0061's search.
-- Lock: none that anyone waits for: only the catalogue's row of a function is written.

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
  -- What stands behind the @ of an address is no name: a user may be named like a mail provider.
  if not p_is_address then
    v_pattern := '(?<![[:alnum:]._%+-]@[[:alnum:].-]*)' || v_pattern;
  end if;
  if p_is_address then
    v_pattern := v_pattern || '(?![[:alnum:]]|\.[[:alnum:]]|-+[[:alnum:]])';
  elsif ascii(right(v_term, 1)) < 11904 then
    v_pattern := v_pattern || '(?![[:alnum:]\u0300-\u036f])';
  end if;
  return v_pattern;
end
$$;
