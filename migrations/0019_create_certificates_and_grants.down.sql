-- Phase: 2
-- Why: takes back 0019_create_certificates_and_grants.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.certificate_requests, public.cross_service_auth, public.qdrant_access_control,
--   public.encrypted_fields.

drop table public.encrypted_fields;
drop table public.qdrant_access_control;
drop table public.cross_service_auth;
drop table public.certificate_requests;

drop type public.accesslevel;
