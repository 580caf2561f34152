-- Phase: 1
-- Why: the third table of the old database.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create table public.user_history_summaries (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  summary_period varchar not null,
  period_start timestamptz not null,
  period_end timestamptz not null,
  version integer not null default 1,
  total_sessions integer not null default 0,
  total_messages integer not null default 0,
  total_tokens_used integer,
  primary_domains jsonb not null default '[]',
  frequent_topics jsonb not null default '[]',
  key_preferences jsonb not null default '{}',
  skill_areas jsonb not null default '[]',
  preferred_tools jsonb not null default '[]',
  interaction_patterns jsonb not null default '{}',
  complexity_preference varchar not null default 'medium',
  executive_summary text not null,
  important_context text,
  recurring_themes jsonb not null default '[]',
  engagement_score double precision,
  satisfaction_indicators jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_history_summaries_pkey primary key (id),
  constraint user_history_summaries_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_user_history_summaries_user_id on public.user_history_summaries (user_id);

create trigger user_history_summaries_set_updated_at
  before update on public.user_history_summaries
  for each row execute function public.set_updated_at();

comment on table public.user_history_summaries is
  'Roll-up of a user''s conversations per period. Written by the summary worker.';
comment on column public.user_history_summaries.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.user_history_summaries.user_id is 'The user the row belongs to.';
comment on column public.user_history_summaries.summary_period is 'weekly, monthly or all_time.';
comment on column public.user_history_summaries.period_start is 'Start of the period covered.';
comment on column public.user_history_summaries.period_end is 'End of the period covered; not before its start.';
comment on column public.user_history_summaries.version is 'Number of the row''s revision, counted up by the application.';
comment on column public.user_history_summaries.total_sessions is 'Sessions in the period.';
comment on column public.user_history_summaries.total_messages is 'Messages in the period.';
comment on column public.user_history_summaries.total_tokens_used is 'Tokens spent, as the model counts them; null when not known.';
comment on column public.user_history_summaries.primary_domains is 'Main subjects, as a JSON list.';
comment on column public.user_history_summaries.frequent_topics is 'Frequent topics, as a JSON list.';
comment on column public.user_history_summaries.key_preferences is 'Preferences the user showed, as an object.';
comment on column public.user_history_summaries.skill_areas is 'Skills the user showed, as a JSON list.';
comment on column public.user_history_summaries.preferred_tools is 'Tools the user chose most, as a JSON list.';
comment on column public.user_history_summaries.interaction_patterns is 'How the user converses, as an object.';
comment on column public.user_history_summaries.complexity_preference is 'low, medium or high.';
comment on column public.user_history_summaries.executive_summary is 'The summary itself.';
comment on column public.user_history_summaries.important_context is 'What later conversations should know.';
comment on column public.user_history_summaries.recurring_themes is 'Themes that come back, as a JSON list.';
comment on column public.user_history_summaries.engagement_score is 'How engaged the user was, as the summariser rates it.';
comment on column public.user_history_summaries.satisfaction_indicators is 'Signs of satisfaction, as an object.';
comment on column public.user_history_summaries.created_at is 'When the row was made; set by the server.';
comment on column public.user_history_summaries.updated_at is 'When the row was last changed; kept by a trigger.';
