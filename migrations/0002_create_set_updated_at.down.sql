-- Phase: 1
-- Why: takes back 0002_create_set_updated_at.
-- Lock: ACCESS EXCLUSIVE on what is dropped, to the end of the run.

drop function public.set_updated_at();
