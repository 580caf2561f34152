-- Phase: 1
-- Why: prompts are read at every request; nulls not distinct keeps a shipped default, which has no user, from being
--   there twice.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create table public.system_prompts (
  id uuid not null default gen_random_uuid(),
  user_id integer,
  prompt_key varchar not null,
  prompt_category varchar not null,
  prompt_name varchar not null,
  description text,
  prompt_text text not null,
  variables jsonb,
  is_factory_default boolean not null default false,
  is_active boolean not null default true,
  version integer not null default 1,
  usage_count integer not null default 0,
  last_used_at timestamptz,
  average_satisfaction double precision,
  success_rate double precision,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint system_prompts_pkey primary key (id),
  constraint _user_prompt_key_uc unique nulls not distinct (user_id, prompt_key),
  constraint system_prompts_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_system_prompts_prompt_category on public.system_prompts (prompt_category);
create index ix_system_prompts_prompt_key on public.system_prompts (prompt_key);
create index ix_system_prompts_user_id on public.system_prompts (user_id);

create trigger system_prompts_set_updated_at
  before update on public.system_prompts
  for each row execute function public.set_updated_at();

comment on table public.system_prompts is
  'Prompt texts; a row without a user is a default shipped with the application, a row with one overrides it. Written by the application''s set-up and by users in the settings.';
comment on column public.system_prompts.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.system_prompts.user_id is 'Owner of an override; null for a default shipped with the application.';
comment on column public.system_prompts.prompt_key is 'Stable identifier the application looks the prompt up by; unique per user.';
comment on column public.system_prompts.prompt_category is 'Area of use: chat, interview, analysis and the like.';
comment on column public.system_prompts.prompt_name is 'Title shown in the settings.';
comment on column public.system_prompts.description is 'Explanation for people.';
comment on column public.system_prompts.prompt_text is 'The prompt itself.';
comment on column public.system_prompts.variables is 'Placeholders that the text accepts, as JSON.';
comment on column public.system_prompts.is_factory_default is 'True for a default shipped with the application.';
comment on column public.system_prompts.is_active is 'True while the row is in force; set to false instead of deleting it.';
comment on column public.system_prompts.version is 'Number of the row''s revision, counted up by the application.';
comment on column public.system_prompts.usage_count is 'How often the prompt was used.';
comment on column public.system_prompts.last_used_at is 'When it was last used; null for never.';
comment on column public.system_prompts.average_satisfaction is 'Mean rating of the answers it led to; null before the first rating.';
comment on column public.system_prompts.success_rate is 'Share of successful uses, 0 to 1.';
comment on column public.system_prompts.created_at is 'When the row was made; set by the server.';
comment on column public.system_prompts.updated_at is 'When the row was last changed; kept by a trigger.';
