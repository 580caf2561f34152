-- Phase: 2
-- Why: takes back 0011_create_two_factor_policies.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.two_factor_policies, public.user_two_factor_grace_periods,
--   public.two_factor_admin_overrides, public.two_factor_compliance_reports.

drop table public.two_factor_compliance_reports;
drop table public.two_factor_admin_overrides;
drop table public.user_two_factor_grace_periods;
drop table public.two_factor_policies;

drop type public.twofactorgracestatus;
drop type public.twofactorpolicytype;
