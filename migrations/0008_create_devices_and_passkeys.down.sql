-- Phase: 2
-- Why: takes back 0008_create_devices_and_passkeys.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.registered_devices, public.passkey_credentials.

drop table public.passkey_credentials;
drop table public.registered_devices;

drop type public.devicesecuritylevel;
drop type public.devicetype;
