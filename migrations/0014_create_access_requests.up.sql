-- Phase: 2
-- Why: requests for client certificates come from people without an account.
-- Lock: none that anyone waits for: what is made here is new.

create type public.access_request_status as enum ('pending', 'approved', 'rejected');

create table public.access_requests (
  id uuid not null default gen_random_uuid(),
  email varchar not null,
  status public.access_request_status not null default 'pending',
  token varchar,
  expires_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz,
  constraint access_requests_pkey primary key (id),
  constraint access_requests_token_key unique (token)
);

create trigger access_requests_set_updated_at
  before update on public.access_requests
  for each row execute function public.set_updated_at();

-- Secret: token. The read-only role gets the other columns by name, so a column added later is hidden from it until
-- somebody decides otherwise.
revoke select on public.access_requests from app_readonly;
grant select (
  id, email, status, expires_at, created_at, updated_at
) on public.access_requests to app_readonly;

comment on table public.access_requests is
  'Requests for a client certificate, by e-mail. Written by the public request form and by administrators.';
comment on column public.access_requests.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.access_requests.email is 'Address the certificate was asked for, and to which the approval is sent.';
comment on column public.access_requests.status is 'Decision on the request; set by an administrator.';
comment on column public.access_requests.token is 'Token handed out on approval, unique. Secret.';
comment on column public.access_requests.expires_at is 'When the token ends; 24 hours after it was made.';
comment on column public.access_requests.created_at is 'When the row was made; set by the server.';
comment on column public.access_requests.updated_at is 'When the row was last changed; kept by a trigger.';
