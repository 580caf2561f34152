-- Phase: 3
-- Why: takes back 0021_create_calendar.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.calendars, public.events.

drop table public.events;
drop table public.calendars;

drop type public.eventcategory;
