-- Phase: 3
-- Why: interviews and what analysis makes of a user's content.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create table public.mission_interviews (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  interview_type varchar not null default 'mission_statement',
  llm_model varchar,
  status varchar not null default 'in_progress',
  questions jsonb,
  responses jsonb,
  analysis_results jsonb,
  recommendations jsonb,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  constraint mission_interviews_pkey primary key (id),
  constraint mission_interviews_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_mission_interviews_user_id on public.mission_interviews (user_id);

comment on table public.mission_interviews is
  'Guided interviews. Written by the interview service.';
comment on column public.mission_interviews.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.mission_interviews.user_id is 'The user the row belongs to.';
comment on column public.mission_interviews.interview_type is 'Kind of interview.';
comment on column public.mission_interviews.llm_model is 'Language model that led the interview.';
comment on column public.mission_interviews.status is 'in_progress until the interview is finished.';
comment on column public.mission_interviews.questions is 'Questions, as JSON.';
comment on column public.mission_interviews.responses is 'Answers, as JSON.';
comment on column public.mission_interviews.analysis_results is 'Result of the analysis, as JSON.';
comment on column public.mission_interviews.recommendations is 'What to do next, as JSON.';
comment on column public.mission_interviews.created_at is 'When the row was made; set by the server.';
comment on column public.mission_interviews.completed_at is 'When it was finished; null while open.';

create table public.semantic_insights (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  content_type varchar not null,
  content_id uuid,
  insight_type varchar not null,
  insight_value jsonb not null,
  confidence_score double precision,
  model_used varchar,
  created_at timestamptz not null default now(),
  constraint semantic_insights_pkey primary key (id),
  constraint semantic_insights_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_semantic_insights_user_id on public.semantic_insights (user_id);

comment on table public.semantic_insights is
  'Insights derived from content. Written by the analysis worker.';
comment on column public.semantic_insights.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.semantic_insights.user_id is 'The user the row belongs to.';
comment on column public.semantic_insights.content_type is 'Kind of content the insight is about.';
comment on column public.semantic_insights.content_id is 'Key of the content; its table goes with content_type, so it has no foreign key.';
comment on column public.semantic_insights.insight_type is 'Kind of insight.';
comment on column public.semantic_insights.insight_value is 'The insight, as JSON.';
comment on column public.semantic_insights.confidence_score is 'Confidence, 0 to 1.';
comment on column public.semantic_insights.model_used is 'Language model that was used.';
comment on column public.semantic_insights.created_at is 'When the row was made; set by the server.';

create table public.ai_analysis_history (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  analysis_type varchar not null,
  input_data jsonb not null,
  output_data jsonb not null,
  model_used varchar,
  processing_time_ms integer,
  created_at timestamptz not null default now(),
  constraint ai_analysis_history_pkey primary key (id),
  constraint ai_analysis_history_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_ai_analysis_history_user_id on public.ai_analysis_history (user_id);

comment on table public.ai_analysis_history is
  'Analysis runs with input and output. Written by the analysis worker.';
comment on column public.ai_analysis_history.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.ai_analysis_history.user_id is 'The user the row belongs to.';
comment on column public.ai_analysis_history.analysis_type is 'Kind of analysis.';
comment on column public.ai_analysis_history.input_data is 'What was analysed, as JSON.';
comment on column public.ai_analysis_history.output_data is 'Result, as JSON.';
comment on column public.ai_analysis_history.model_used is 'Language model that was used.';
comment on column public.ai_analysis_history.processing_time_ms is 'Duration in milliseconds.';
comment on column public.ai_analysis_history.created_at is 'When the row was made; set by the server.';
