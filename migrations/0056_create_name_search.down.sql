-- Phase: 4
-- Why: takes back the search for names; what was erased stays erased.
-- Lock: none that anyone waits for.

drop function privacy.sweep(integer, privacy.search, privacy.search);
drop function privacy.redact_array(text[], text[], text[]);
drop function privacy.redact_json(json, text[], text[]);
drop function privacy.redact_json(jsonb, text[], text[]);
drop function privacy.redact_nested(jsonb, text[], text[]);
drop function privacy.redact(text, text[], text[]);
drop view privacy.text_columns;
drop function privacy.search_for(integer);
drop type privacy.search;
drop function privacy.identity_of(integer);
drop function privacy.is_common_word(text);
drop function privacy.needle_of(text);
drop function privacy.pattern_of(text, boolean, boolean);
drop function privacy.own_name(integer);
drop function privacy.own_address(integer);
