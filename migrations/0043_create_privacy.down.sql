-- Phase: 4
-- Why: takes back the privacy functions; what they erased stays erased.
-- Lock: none that anyone waits for.

drop function privacy.fulfil_request(uuid);
drop function privacy.pseudonymise_user(integer, uuid);
drop function privacy.erase_user(integer, uuid);
drop function privacy.remove_user(integer, boolean, uuid);
drop function privacy.export_user(integer);
drop view privacy.user_data;
drop function privacy.chat_sessions_of(integer);
drop schema privacy;
