-- Phase: 2
-- Why: takes back 0017_create_security_tiers.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.user_security_tiers, public.security_requirements, public.security_tier_policies,
--   public.security_tier_upgrade_logs.

drop view public.user_security_tier;
drop table public.security_tier_upgrade_logs;
drop table public.security_tier_policies;
drop table public.security_requirements;
drop table public.user_security_tiers;

drop type public.securityrequirementstatus;
drop type public.securityrequirementtype;
drop type public.securitytier;
