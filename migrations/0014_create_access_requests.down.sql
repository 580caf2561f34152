-- Phase: 2
-- Why: takes back 0014_create_access_requests.
-- Lock: ACCESS EXCLUSIVE on the dropped tables, to the end of the run.
-- Data loss: every row of public.access_requests.

drop table public.access_requests;

drop type public.access_request_status;
