-- Phase: 3
-- Why: takes back 0029_create_agents.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.agent_configurations, public.gpu_resources, public.task_delegations,
--   public.multi_agent_conversations.

drop view public.multi_agent_conversation;
drop view public.task_delegation;
drop view public.gpu_resource;
drop view public.agent_configuration;
drop table public.multi_agent_conversations;
drop table public.task_delegations;
drop table public.gpu_resources;
drop table public.agent_configurations;

drop type public.conversationphase;
drop type public.taskdelegationstatus;
drop type public.modelprovider;
