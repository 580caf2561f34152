-- Phase: 3
-- Why: the agents' tables, whose models are switched off at present but which the schema report asks for.
--   task_delegations has two columns without a foreign key, as blackboard_events and consensus_memory_nodes do not
--   exist.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.modelprovider as enum ('ollama', 'openai', 'anthropic', 'google', 'huggingface');
create type public.taskdelegationstatus as enum (
  'pending', 'in_progress', 'completed', 'failed', 'cancelled', 'timeout'
);
create type public.conversationphase as enum (
  'initialization', 'ingestion', 'planning', 'delegation', 'processing', 'synthesis', 'review', 'completion'
);

create table public.agent_configurations (
  id uuid not null default gen_random_uuid(),
  agent_id varchar(50) not null,
  agent_type varchar(50) not null,
  agent_role varchar(100) not null,
  user_id integer,
  assigned_llm varchar(100) not null,
  model_provider public.modelprovider not null,
  model_version varchar(50),
  gpu_assignment integer,
  allocated_memory_mb integer,
  max_concurrent_requests integer not null default 1,
  system_prompt text,
  temperature double precision not null default 0.7,
  max_tokens integer,
  constraints jsonb not null default '{}',
  capabilities jsonb not null default '[]',
  specializations jsonb not null default '[]',
  timeout_seconds integer not null default 300,
  retry_attempts integer not null default 3,
  priority_level integer not null default 1,
  is_active boolean not null default true,
  is_global_default boolean not null default false,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint agent_configurations_pkey primary key (id),
  constraint _user_agent_config_uc unique (user_id, agent_id),
  constraint agent_configurations_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index idx_agent_config_constraints_gin on public.agent_configurations using gin (constraints);
create index idx_agent_config_gpu on public.agent_configurations (gpu_assignment, is_active);
create index idx_agent_config_provider on public.agent_configurations (model_provider, agent_type);
create index ix_agent_configurations_agent_id on public.agent_configurations (agent_id);
create index ix_agent_configurations_agent_type on public.agent_configurations (agent_type);
create index ix_agent_configurations_gpu_assignment on public.agent_configurations (gpu_assignment);
create index ix_agent_configurations_model_provider on public.agent_configurations (model_provider);
create index ix_agent_configurations_user_id on public.agent_configurations (user_id);

create trigger agent_configurations_set_updated_at
  before update on public.agent_configurations
  for each row execute function public.set_updated_at();

comment on table public.agent_configurations is
  'Model, limits and behaviour per agent. Written by administrators and by users for themselves.';
comment on column public.agent_configurations.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.agent_configurations.agent_id is 'Identifier of the agent in the application.';
comment on column public.agent_configurations.agent_type is 'expert, pm or synthesizer.';
comment on column public.agent_configurations.agent_role is 'Role the agent plays.';
comment on column public.agent_configurations.user_id is 'Owner of the configuration; null for a global one.';
comment on column public.agent_configurations.assigned_llm is 'Language model the agent uses.';
comment on column public.agent_configurations.model_provider is 'Where the model runs.';
comment on column public.agent_configurations.model_version is 'Version of the model; null for the provider''s current one.';
comment on column public.agent_configurations.gpu_assignment is 'GPU number, 0 to 2; null for any.';
comment on column public.agent_configurations.allocated_memory_mb is 'GPU memory set aside, in megabytes.';
comment on column public.agent_configurations.max_concurrent_requests is 'Requests served at once.';
comment on column public.agent_configurations.system_prompt is 'Prompt that opens every request of the agent; null for the agent''s own.';
comment on column public.agent_configurations.temperature is 'Sampling temperature of the model.';
comment on column public.agent_configurations.max_tokens is 'Tokens an answer may have; null for the model''s limit.';
comment on column public.agent_configurations.constraints is 'Limits set, as an object.';
comment on column public.agent_configurations.capabilities is 'What the agent can do, as JSON.';
comment on column public.agent_configurations.specializations is 'Subjects of the agent, as a JSON list.';
comment on column public.agent_configurations.timeout_seconds is 'Seconds after which a request is given up.';
comment on column public.agent_configurations.retry_attempts is 'Retries of a failed request.';
comment on column public.agent_configurations.priority_level is 'Priority, 1 to 10.';
comment on column public.agent_configurations.is_active is 'True while the row is in force; set to false instead of deleting it.';
comment on column public.agent_configurations.is_global_default is 'True when it holds for everybody without a configuration of their own.';
comment on column public.agent_configurations.version is 'Number of the row''s revision, counted up by the application.';
comment on column public.agent_configurations.created_at is 'When the row was made; set by the server.';
comment on column public.agent_configurations.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.gpu_resources (
  id integer not null generated by default as identity,
  gpu_name varchar(100) not null,
  gpu_model varchar(100) not null,
  total_memory_mb integer not null,
  compute_capability varchar(20) not null,
  cuda_cores integer,
  base_clock_mhz integer,
  boost_clock_mhz integer,
  memory_bandwidth_gbps double precision,
  power_limit_watts integer,
  is_available boolean not null default true,
  maintenance_mode boolean not null default false,
  max_concurrent_agents integer not null default 3,
  reserved_memory_mb integer not null default 1024,
  current_utilization_percent double precision not null default 0.0,
  current_memory_used_mb integer not null default 0,
  current_temperature_c double precision,
  current_power_usage_watts double precision,
  average_utilization_24h double precision,
  peak_utilization_24h double precision,
  uptime_hours double precision,
  last_updated_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  constraint gpu_resources_pkey primary key (id)
);

create index idx_gpu_resource_availability on public.gpu_resources (is_available, maintenance_mode);
create index idx_gpu_resource_performance on public.gpu_resources (average_utilization_24h, uptime_hours);
create index idx_gpu_resource_utilization on public.gpu_resources (current_utilization_percent, current_memory_used_mb);

create trigger gpu_resources_set_last_updated_at
  before update on public.gpu_resources
  for each row execute function public.set_updated_at('last_updated_at');

comment on table public.gpu_resources is
  'GPUs and their load. Written by the GPU monitor.';
comment on column public.gpu_resources.id is 'GPU number (0, 1, 2), given by the application; made by the server when it gives none.';
comment on column public.gpu_resources.gpu_name is 'Name of the GPU.';
comment on column public.gpu_resources.gpu_model is 'Model of the GPU.';
comment on column public.gpu_resources.total_memory_mb is 'Memory in megabytes.';
comment on column public.gpu_resources.compute_capability is 'Compute capability as the vendor numbers it.';
comment on column public.gpu_resources.cuda_cores is 'Number of CUDA cores.';
comment on column public.gpu_resources.base_clock_mhz is 'Base clock in megahertz.';
comment on column public.gpu_resources.boost_clock_mhz is 'Boost clock in megahertz.';
comment on column public.gpu_resources.memory_bandwidth_gbps is 'Memory bandwidth in gigabytes per second.';
comment on column public.gpu_resources.power_limit_watts is 'Power limit in watts.';
comment on column public.gpu_resources.is_available is 'Whether it may be used.';
comment on column public.gpu_resources.maintenance_mode is 'True while it is being maintained.';
comment on column public.gpu_resources.max_concurrent_agents is 'Agents it may serve at once.';
comment on column public.gpu_resources.reserved_memory_mb is 'Memory kept free, in megabytes.';
comment on column public.gpu_resources.current_utilization_percent is 'Load, 0 to 100.';
comment on column public.gpu_resources.current_memory_used_mb is 'Memory in use, in megabytes.';
comment on column public.gpu_resources.current_temperature_c is 'Temperature in degrees Celsius.';
comment on column public.gpu_resources.current_power_usage_watts is 'Power draw in watts.';
comment on column public.gpu_resources.average_utilization_24h is 'Mean load of the last day, 0 to 100.';
comment on column public.gpu_resources.peak_utilization_24h is 'Highest load of the last day, 0 to 100.';
comment on column public.gpu_resources.uptime_hours is 'Hours since it was last started.';
comment on column public.gpu_resources.last_updated_at is 'When the row was last changed; kept by a trigger.';
comment on column public.gpu_resources.created_at is 'When the row was made; set by the server.';

create table public.task_delegations (
  id uuid not null default gen_random_uuid(),
  session_id varchar not null,
  user_id integer not null,
  conversation_id varchar,
  pm_agent_id varchar(50) not null,
  target_agent_id varchar(50) not null,
  agent_role varchar(100) not null,
  task_description text not null,
  delegation_directive text not null,
  task_type varchar(50) not null,
  priority_level integer not null default 1,
  context_data jsonb not null default '{}',
  requirements jsonb not null default '[]',
  constraints jsonb not null default '{}',
  expected_deliverables jsonb not null default '[]',
  status public.taskdelegationstatus not null default 'pending',
  progress_percentage integer not null default 0,
  estimated_duration_minutes integer,
  actual_duration_minutes integer,
  deadline timestamptz,
  blackboard_event_id uuid,
  consensus_node_id uuid,
  created_at timestamptz not null default now(),
  assigned_at timestamptz,
  started_at timestamptz,
  completed_at timestamptz,
  updated_at timestamptz not null default now(),
  constraint task_delegations_pkey primary key (id),
  constraint task_delegations_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index idx_task_delegation_agents on public.task_delegations (pm_agent_id, target_agent_id);
create index idx_task_delegation_context_gin on public.task_delegations using gin (context_data);
create index idx_task_delegation_session on public.task_delegations (session_id, status);
create index idx_task_delegation_timing on public.task_delegations (created_at, deadline);
create index ix_task_delegations_blackboard_event_id on public.task_delegations (blackboard_event_id);
create index ix_task_delegations_consensus_node_id on public.task_delegations (consensus_node_id);
create index ix_task_delegations_conversation_id on public.task_delegations (conversation_id);
create index ix_task_delegations_pm_agent_id on public.task_delegations (pm_agent_id);
create index ix_task_delegations_session_id on public.task_delegations (session_id);
create index ix_task_delegations_status on public.task_delegations (status);
create index ix_task_delegations_target_agent_id on public.task_delegations (target_agent_id);
create index ix_task_delegations_task_type on public.task_delegations (task_type);
create index ix_task_delegations_user_id on public.task_delegations (user_id);

create trigger task_delegations_set_updated_at
  before update on public.task_delegations
  for each row execute function public.set_updated_at();

comment on table public.task_delegations is
  'Work handed from a coordinating agent to another. Written by the agents.';
comment on column public.task_delegations.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.task_delegations.session_id is 'Text identifier of the conversation.';
comment on column public.task_delegations.user_id is 'The user the row belongs to.';
comment on column public.task_delegations.conversation_id is 'Identifier of the conversation in the application; null for none.';
comment on column public.task_delegations.pm_agent_id is 'Agent that hands the work out.';
comment on column public.task_delegations.target_agent_id is 'Agent that receives it.';
comment on column public.task_delegations.agent_role is 'Role the agent plays.';
comment on column public.task_delegations.task_description is 'What is to be done.';
comment on column public.task_delegations.delegation_directive is 'How it is to be done.';
comment on column public.task_delegations.task_type is 'Kind of task.';
comment on column public.task_delegations.priority_level is 'Priority, 1 to 10.';
comment on column public.task_delegations.context_data is 'What the agent has to know, as an object.';
comment on column public.task_delegations.requirements is 'What is required, as a JSON list.';
comment on column public.task_delegations.constraints is 'Limits set, as an object.';
comment on column public.task_delegations.expected_deliverables is 'What is to be delivered, as a JSON list.';
comment on column public.task_delegations.status is 'State of the work; written by the agents.';
comment on column public.task_delegations.progress_percentage is 'Progress, 0 to 100.';
comment on column public.task_delegations.estimated_duration_minutes is 'Estimated duration in minutes.';
comment on column public.task_delegations.actual_duration_minutes is 'Actual duration in minutes.';
comment on column public.task_delegations.deadline is 'When it is due.';
comment on column public.task_delegations.blackboard_event_id is 'Reserved for a link to a table of a model that is switched off, so without a foreign key.';
comment on column public.task_delegations.consensus_node_id is 'Reserved for a link to a table of a model that is switched off, so without a foreign key.';
comment on column public.task_delegations.created_at is 'When the row was made; set by the server.';
comment on column public.task_delegations.assigned_at is 'When it was handed out.';
comment on column public.task_delegations.started_at is 'When it was started; null while waiting.';
comment on column public.task_delegations.completed_at is 'When it was finished; null while open.';
comment on column public.task_delegations.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.multi_agent_conversations (
  id uuid not null default gen_random_uuid(),
  session_id varchar not null,
  user_id integer not null,
  conversation_id varchar,
  conversation_title varchar(200) not null,
  conversation_description text,
  conversation_type varchar(50) not null,
  domain varchar(100),
  current_phase public.conversationphase not null default 'initialization',
  is_active boolean not null default true,
  participating_agents jsonb not null default '[]',
  coordinator_agent_id varchar(50) not null,
  total_agents integer not null default 0,
  active_agents integer not null default 0,
  total_tasks_delegated integer not null default 0,
  tasks_completed integer not null default 0,
  total_agent_responses integer not null default 0,
  synthesis_count integer not null default 0,
  total_processing_time_seconds double precision not null default 0.0,
  average_response_time_seconds double precision,
  total_tokens_used integer,
  overall_satisfaction_score double precision,
  completion_status varchar(20) not null default 'in_progress',
  final_outcome text,
  started_at timestamptz not null default now(),
  last_activity_at timestamptz not null default now(),
  completed_at timestamptz,
  constraint multi_agent_conversations_pkey primary key (id),
  constraint multi_agent_conversations_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index idx_multi_agent_conversation_agents_gin on public.multi_agent_conversations using gin (participating_agents);
create index idx_multi_agent_conversation_performance on public.multi_agent_conversations (total_processing_time_seconds, average_response_time_seconds);
create index idx_multi_agent_conversation_phase on public.multi_agent_conversations (current_phase, is_active);
create index idx_multi_agent_conversation_progress on public.multi_agent_conversations (tasks_completed, total_tasks_delegated);
create index ix_multi_agent_conversations_conversation_id on public.multi_agent_conversations (conversation_id);
create index ix_multi_agent_conversations_conversation_type on public.multi_agent_conversations (conversation_type);
create index ix_multi_agent_conversations_coordinator_agent_id on public.multi_agent_conversations (coordinator_agent_id);
create index ix_multi_agent_conversations_current_phase on public.multi_agent_conversations (current_phase);
create index ix_multi_agent_conversations_domain on public.multi_agent_conversations (domain);
create unique index ix_multi_agent_conversations_session_id on public.multi_agent_conversations (session_id);
create index ix_multi_agent_conversations_user_id on public.multi_agent_conversations (user_id);

create trigger multi_agent_conversations_set_last_activity_at
  before update on public.multi_agent_conversations
  for each row execute function public.set_updated_at('last_activity_at');

comment on table public.multi_agent_conversations is
  'Conversations that several agents take part in. Written by the agents.';
comment on column public.multi_agent_conversations.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.multi_agent_conversations.session_id is 'Text identifier of the conversation, unique.';
comment on column public.multi_agent_conversations.user_id is 'The user the row belongs to.';
comment on column public.multi_agent_conversations.conversation_id is 'Identifier of the conversation in the application; null for none.';
comment on column public.multi_agent_conversations.conversation_title is 'Title shown to the user.';
comment on column public.multi_agent_conversations.conversation_description is 'What the conversation is about.';
comment on column public.multi_agent_conversations.conversation_type is 'expert_group, planning or analysis.';
comment on column public.multi_agent_conversations.domain is 'Subject area, in the application''s words.';
comment on column public.multi_agent_conversations.current_phase is 'Phase the conversation is in.';
comment on column public.multi_agent_conversations.is_active is 'False once the conversation ended.';
comment on column public.multi_agent_conversations.participating_agents is 'Agents taking part, as a JSON list.';
comment on column public.multi_agent_conversations.coordinator_agent_id is 'Agent that leads.';
comment on column public.multi_agent_conversations.total_agents is 'Agents taking part.';
comment on column public.multi_agent_conversations.active_agents is 'Agents active now.';
comment on column public.multi_agent_conversations.total_tasks_delegated is 'Tasks handed out.';
comment on column public.multi_agent_conversations.tasks_completed is 'Tasks finished.';
comment on column public.multi_agent_conversations.total_agent_responses is 'Answers given by agents.';
comment on column public.multi_agent_conversations.synthesis_count is 'Times answers were put together.';
comment on column public.multi_agent_conversations.total_processing_time_seconds is 'Processing time in seconds.';
comment on column public.multi_agent_conversations.average_response_time_seconds is 'Mean response time in seconds.';
comment on column public.multi_agent_conversations.total_tokens_used is 'Tokens spent, as the model counts them; null when not known.';
comment on column public.multi_agent_conversations.overall_satisfaction_score is 'The user''s rating, 1 to 5.';
comment on column public.multi_agent_conversations.completion_status is 'How far the conversation is, such as in_progress.';
comment on column public.multi_agent_conversations.final_outcome is 'What the conversation came to.';
comment on column public.multi_agent_conversations.started_at is 'When the conversation began; set by the server.';
comment on column public.multi_agent_conversations.last_activity_at is 'When the row was last changed; kept by a trigger.';
comment on column public.multi_agent_conversations.completed_at is 'When it was finished; null while open.';

create view public.agent_configuration with (security_invoker = true) as
select
  id,
  agent_id,
  agent_type,
  agent_role,
  user_id,
  assigned_llm,
  model_provider,
  model_version,
  gpu_assignment,
  allocated_memory_mb,
  max_concurrent_requests,
  system_prompt,
  temperature,
  max_tokens,
  constraints,
  capabilities,
  specializations,
  timeout_seconds,
  retry_attempts,
  priority_level,
  is_active,
  is_global_default,
  version,
  created_at,
  updated_at
from public.agent_configurations;

comment on view public.agent_configuration is 'The schema report''s name for public.agent_configurations; rows can be read and written through it.';

create view public.gpu_resource with (security_invoker = true) as
select
  id,
  gpu_name,
  gpu_model,
  total_memory_mb,
  compute_capability,
  cuda_cores,
  base_clock_mhz,
  boost_clock_mhz,
  memory_bandwidth_gbps,
  power_limit_watts,
  is_available,
  maintenance_mode,
  max_concurrent_agents,
  reserved_memory_mb,
  current_utilization_percent,
  current_memory_used_mb,
  current_temperature_c,
  current_power_usage_watts,
  average_utilization_24h,
  peak_utilization_24h,
  uptime_hours,
  last_updated_at,
  created_at
from public.gpu_resources;

comment on view public.gpu_resource is 'The schema report''s name for public.gpu_resources; rows can be read and written through it.';

create view public.task_delegation with (security_invoker = true) as
select
  id,
  session_id,
  user_id,
  conversation_id,
  pm_agent_id,
  target_agent_id,
  agent_role,
  task_description,
  delegation_directive,
  task_type,
  priority_level,
  context_data,
  requirements,
  constraints,
  expected_deliverables,
  status,
  progress_percentage,
  estimated_duration_minutes,
  actual_duration_minutes,
  deadline,
  blackboard_event_id,
  consensus_node_id,
  created_at,
  assigned_at,
  started_at,
  completed_at,
  updated_at
from public.task_delegations;

comment on view public.task_delegation is 'The schema report''s name for public.task_delegations; rows can be read and written through it.';

create view public.multi_agent_conversation with (security_invoker = true) as
select
  id,
  session_id,
  user_id,
  conversation_id,
  conversation_title,
  conversation_description,
  conversation_type,
  domain,
  current_phase,
  is_active,
  participating_agents,
  coordinator_agent_id,
  total_agents,
  active_agents,
  total_tasks_delegated,
  tasks_completed,
  total_agent_responses,
  synthesis_count,
  total_processing_time_seconds,
  average_response_time_seconds,
  total_tokens_used,
  overall_satisfaction_score,
  completion_status,
  final_outcome,
  started_at,
  last_activity_at,
  completed_at
from public.multi_agent_conversations;

comment on view public.multi_agent_conversation is 'The schema report''s name for public.multi_agent_conversations; rows can be read and written through it.';
