-- Phase: 4
-- Why: takes back the audit trigger function; the trail it wrote stays.
-- Lock: none that anyone waits for.

drop function audit.record_change();
drop function audit.mask_secrets(jsonb);
drop function audit.is_secret(text);
