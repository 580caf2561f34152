-- Phase: 2
-- Why: takes back 0010_create_two_factor_channels.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.user_sms_two_factor, public.user_email_two_factor,
--   public.two_factor_verification_codes.

drop table public.two_factor_verification_codes;
drop table public.user_email_two_factor;
drop table public.user_sms_two_factor;

drop type public.emailprovider;
drop type public.smsprovider;
