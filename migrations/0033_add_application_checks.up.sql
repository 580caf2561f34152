-- Phase: 3
-- Why: wrong values are refused from now on.
-- Lock: ACCESS EXCLUSIVE on each table, to the end of the run: not valid skips the scan of the rows already there.

alter table public.document_chunks
  add constraint document_chunks_chunk_index_not_negative
  check (chunk_index >= 0) not valid;

alter table public.tasks
  add constraint tasks_completion_percentage_range
  check (completion_percentage between 0 and 100) not valid;

alter table public.task_feedback
  add constraint task_feedback_difficulty_range
  check (difficulty between 1 and 10) not valid;

alter table public.task_feedback
  add constraint task_feedback_energy_range
  check (energy between 1 and 10) not valid;

alter table public.mission_interviews
  add constraint mission_interviews_completed_at_not_before_created_at
  check (completed_at is null or completed_at >= created_at) not valid;

alter table public.semantic_insights
  add constraint semantic_insights_confidence_score_range
  check (confidence_score between 0 and 1) not valid;

alter table public.chat_messages
  add constraint chat_messages_message_type_known
  check (message_type in ('human', 'ai', 'system')) not valid;

alter table public.chat_messages
  add constraint chat_messages_confidence_score_range
  check (confidence_score between 0 and 1) not valid;

alter table public.chat_messages
  add constraint chat_messages_message_order_not_negative
  check (message_order >= 0) not valid;

alter table public.chat_session_summaries
  add constraint chat_session_summaries_ended_at_not_before_started_at
  check (ended_at >= started_at) not valid;

alter table public.chat_session_summaries
  add constraint chat_session_summaries_complexity_level_known
  check (complexity_level in ('low', 'medium', 'high')) not valid;

alter table public.chat_session_summaries
  add constraint chat_session_summaries_resolution_status_known
  check (resolution_status in ('completed', 'partial', 'interrupted')) not valid;

alter table public.message_feedback
  add constraint message_feedback_feedback_known
  check (feedback in ('up', 'down')) not valid;

alter table public.agent_configurations
  add constraint agent_configuration_priority_level_range
  check (priority_level between 1 and 10) not valid;

alter table public.task_delegations
  add constraint task_delegation_completed_at_not_before_started_at
  check (completed_at is null or completed_at >= started_at) not valid;

alter table public.task_delegations
  add constraint task_delegation_progress_percentage_range
  check (progress_percentage between 0 and 100) not valid;

alter table public.multi_agent_conversations
  add constraint multi_agent_conversation_completed_at_not_before_started_at
  check (completed_at is null or completed_at >= started_at) not valid;

alter table public.multi_agent_conversations
  add constraint multi_agent_conversation_overall_satisfaction_score_range
  check (overall_satisfaction_score between 1 and 5) not valid;

alter table public.legacy_agent_configurations
  add constraint legacy_agent_configurations_priority_range
  check (priority between 1 and 10) not valid;

alter table public.legacy_agent_metrics
  add constraint legacy_agent_metrics_period_end_not_before_period_start
  check (period_end >= period_start) not valid;

alter table public.chat_mode_sessions
  add constraint chat_mode_sessions_ended_at_not_before_created_at
  check (ended_at is null or ended_at >= created_at) not valid;

alter table public.router_decision_log
  add constraint router_decision_log_confidence_score_range
  check (confidence_score between 0 and 1) not valid;

alter table public.simple_chat_context
  add constraint simple_chat_context_expires_at_after_start
  check (expires_at is null or expires_at > created_at) not valid;

alter table public.simple_chat_context
  add constraint simple_chat_context_access_level_known
  check (access_level in ('private', 'shared', 'public')) not valid;

alter table public.cross_service_memory_sync
  add constraint cross_service_memory_sync_sync_type_known
  check (sync_type in ('context_transfer', 'knowledge_share', 'state_sync')) not valid;

alter table public.cross_service_memory_sync
  add constraint cross_service_memory_sync_sync_status_known
  check (sync_status in ('pending', 'in_progress', 'completed', 'failed')) not valid;
