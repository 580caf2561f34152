-- Phase: 3
-- Why: takes back 0030_create_legacy_agents.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.legacy_agent_configurations, public.legacy_agent_metrics,
--   public.legacy_gpu_resource_allocations, public.legacy_model_instances.

drop table public.legacy_model_instances;
drop table public.legacy_gpu_resource_allocations;
drop table public.legacy_agent_metrics;
drop table public.legacy_agent_configurations;

drop type public.modelloadstrategy;
drop type public.gpuassignmentstrategy;
drop type public.llmprovider;
drop type public.agenttype;
