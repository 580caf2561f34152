-- Phase: 1
-- Why: takes back 0002_create_set_updated_at.
-- Lock: ACCESS EXCLUSIVE on what is dropped, for milliseconds.

drop function public.set_updated_at();
