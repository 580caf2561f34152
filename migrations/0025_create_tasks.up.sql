-- Phase: 3
-- Why: projects before their tasks, tasks before the feedback on them.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.task_status as enum ('PENDING', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED', 'ON_HOLD');
create type public.task_priority as enum ('LOW', 'MEDIUM', 'HIGH', 'URGENT');
create type public.task_type as enum (
  'GENERAL', 'CODING', 'REVIEW', 'TESTING', 'DEPLOYMENT', 'MEETING', 'RESEARCH', 'OPPORTUNITY'
);

create table public.projects (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  name varchar not null,
  description text,
  project_type varchar,
  programming_language varchar,
  framework varchar,
  repository_url varchar,
  local_path varchar,
  status varchar not null default 'active',
  project_metadata jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz,
  constraint projects_pkey primary key (id),
  constraint projects_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_projects_user_id on public.projects (user_id);

create trigger projects_set_updated_at
  before update on public.projects
  for each row execute function public.set_updated_at();

comment on table public.projects is
  'Programming projects. Written by the user.';
comment on column public.projects.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.projects.user_id is 'The user the row belongs to.';
comment on column public.projects.name is 'Name of the project.';
comment on column public.projects.description is 'What the project is about.';
comment on column public.projects.project_type is 'Kind of project.';
comment on column public.projects.programming_language is 'Main programming language; null when not given.';
comment on column public.projects.framework is 'Framework; null for none.';
comment on column public.projects.repository_url is 'Address of the repository.';
comment on column public.projects.local_path is 'Path on the user''s machine.';
comment on column public.projects.status is 'active or what the user makes of it.';
comment on column public.projects.project_metadata is 'Further facts, as JSON.';
comment on column public.projects.created_at is 'When the row was made; set by the server.';
comment on column public.projects.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.tasks (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  project_id uuid,
  title varchar not null,
  description text,
  status public.task_status not null default 'PENDING',
  priority public.task_priority not null default 'MEDIUM',
  category varchar,
  due_date timestamptz,
  estimated_hours double precision,
  actual_hours double precision,
  completion_percentage integer not null default 0,
  semantic_keywords jsonb,
  semantic_embedding_id varchar,
  semantic_category varchar,
  semantic_tags jsonb,
  semantic_summary text,
  importance_weight double precision not null default 1.0,
  urgency_weight double precision not null default 1.0,
  complexity_weight double precision not null default 1.0,
  user_priority_weight double precision not null default 1.0,
  calculated_score double precision,
  task_type public.task_type not null default 'GENERAL',
  programming_language varchar,
  difficulty_level varchar,
  code_context jsonb,
  repository_branch varchar,
  created_at timestamptz not null default now(),
  updated_at timestamptz,
  constraint tasks_pkey primary key (id),
  constraint tasks_project_id_fkey foreign key (project_id) references public.projects (id)
    on delete set null,
  constraint tasks_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_tasks_project_id on public.tasks (project_id);
create index ix_tasks_user_id on public.tasks (user_id);

create trigger tasks_set_updated_at
  before update on public.tasks
  for each row execute function public.set_updated_at();

comment on table public.tasks is
  'To-do items with scoring. Written by the user and by the task service.';
comment on column public.tasks.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.tasks.user_id is 'The user the row belongs to.';
comment on column public.tasks.project_id is 'Project the task belongs to; null for none.';
comment on column public.tasks.title is 'Title of the task, as the user wrote it.';
comment on column public.tasks.description is 'Details of the task, as the user wrote them.';
comment on column public.tasks.status is 'State of the task; set by the user.';
comment on column public.tasks.priority is 'Priority; set by the user.';
comment on column public.tasks.category is 'Name of the category the user sorted it under; null for none.';
comment on column public.tasks.due_date is 'When it is due; null for no date.';
comment on column public.tasks.estimated_hours is 'Estimated effort in hours.';
comment on column public.tasks.actual_hours is 'Actual effort in hours.';
comment on column public.tasks.completion_percentage is 'Progress, 0 to 100.';
comment on column public.tasks.semantic_keywords is 'Keywords found by analysis, as JSON.';
comment on column public.tasks.semantic_embedding_id is 'Key of the row''s vector in the vector store.';
comment on column public.tasks.semantic_category is 'Category found by analysis.';
comment on column public.tasks.semantic_tags is 'Labels found by analysis, as JSON.';
comment on column public.tasks.semantic_summary is 'Summary made by analysis.';
comment on column public.tasks.importance_weight is 'Importance in scoring; 1 is neutral.';
comment on column public.tasks.urgency_weight is 'Urgency in scoring; 1 is neutral.';
comment on column public.tasks.complexity_weight is 'Complexity in scoring; 1 is neutral.';
comment on column public.tasks.user_priority_weight is 'The user''s own weight in scoring; 1 is neutral.';
comment on column public.tasks.calculated_score is 'Score worked out by the application from the weights.';
comment on column public.tasks.task_type is 'Kind of task.';
comment on column public.tasks.programming_language is 'Programming language of a coding task; null otherwise.';
comment on column public.tasks.difficulty_level is 'How hard it is, in the application''s words.';
comment on column public.tasks.code_context is 'Code the task is about, as JSON.';
comment on column public.tasks.repository_branch is 'Branch the task is worked on.';
comment on column public.tasks.created_at is 'When the row was made; set by the server.';
comment on column public.tasks.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.task_feedback (
  id integer not null generated by default as identity,
  user_id integer not null,
  opportunity_id uuid not null,
  feeling varchar not null,
  difficulty integer not null,
  energy integer not null,
  category varchar,
  completed_at timestamptz not null default now(),
  notes text,
  blockers_encountered boolean not null default false,
  constraint task_feedback_pkey primary key (id),
  constraint task_feedback_opportunity_id_fkey foreign key (opportunity_id) references public.tasks (id)
    on delete cascade,
  constraint task_feedback_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index task_feedback_opportunity_id_idx on public.task_feedback (opportunity_id);
create index task_feedback_user_id_idx on public.task_feedback (user_id);

comment on table public.task_feedback is
  'How finishing a task felt. Written by the user.';
comment on column public.task_feedback.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.task_feedback.user_id is 'The user the row belongs to.';
comment on column public.task_feedback.opportunity_id is 'The finished task.';
comment on column public.task_feedback.feeling is 'positive, negative and the like.';
comment on column public.task_feedback.difficulty is 'How hard it was, 1 to 10.';
comment on column public.task_feedback.energy is 'Energy it took, 1 to 10.';
comment on column public.task_feedback.category is 'Name of the finished task''s category.';
comment on column public.task_feedback.completed_at is 'When the task was finished; set by the server.';
comment on column public.task_feedback.notes is 'What the user added in words.';
comment on column public.task_feedback.blockers_encountered is 'Whether something stood in the way.';

create table public.code_templates (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  name varchar not null,
  description text,
  category varchar,
  programming_language varchar not null,
  framework varchar,
  template_content jsonb not null,
  usage_count integer not null default 0,
  is_public boolean not null default false,
  tags jsonb,
  created_at timestamptz not null default now(),
  constraint code_templates_pkey primary key (id),
  constraint code_templates_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_code_templates_user_id on public.code_templates (user_id);

comment on table public.code_templates is
  'Reusable templates. Written by the user.';
comment on column public.code_templates.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.code_templates.user_id is 'The user the row belongs to.';
comment on column public.code_templates.name is 'Name of the template.';
comment on column public.code_templates.description is 'What the template makes.';
comment on column public.code_templates.category is 'Group the template is listed under.';
comment on column public.code_templates.programming_language is 'Programming language the template is in.';
comment on column public.code_templates.framework is 'Framework; null for none.';
comment on column public.code_templates.template_content is 'The template, as JSON.';
comment on column public.code_templates.usage_count is 'How often the template was used.';
comment on column public.code_templates.is_public is 'Whether other users may see it.';
comment on column public.code_templates.tags is 'Labels, as JSON.';
comment on column public.code_templates.created_at is 'When the row was made; set by the server.';
