-- Phase: 2
-- Why: client certificates, grants between services and to vector collections, and values kept encrypted.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.accesslevel as enum ('READ', 'WRITE', 'DELETE', 'ADMIN');

create table public.certificate_requests (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  request_type varchar(20) not null default 'CLIENT_CERT',
  platform varchar(20) not null,
  device_info jsonb,
  certificate_cn varchar(255) not null,
  certificate_san varchar[],
  key_size integer not null default 2048,
  validity_days integer not null default 365,
  status varchar(20) not null default 'PENDING',
  generated_at timestamptz,
  expires_at timestamptz,
  downloaded_at timestamptz,
  revoked_at timestamptz,
  download_token varchar(255),
  download_token_expires_at timestamptz,
  download_count integer not null default 0,
  max_downloads integer not null default 3,
  certificate_path varchar(500),
  bundle_path varchar(500),
  error_message text,
  requested_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint certificate_requests_pkey primary key (id),
  constraint certificate_requests_download_token_key unique (download_token),
  constraint certificate_requests_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_certificate_requests_status on public.certificate_requests (status);
create index ix_certificate_requests_user_id on public.certificate_requests (user_id);

create trigger certificate_requests_set_updated_at
  before update on public.certificate_requests
  for each row execute function public.set_updated_at();

-- Secret: download_token. The read-only role gets the other columns by name, so a column added later is hidden from
-- it until somebody decides otherwise.
revoke select on public.certificate_requests from app_readonly;
grant select (
  id, user_id, request_type, platform, device_info, certificate_cn, certificate_san, key_size, validity_days,
  status, generated_at, expires_at, downloaded_at, revoked_at, download_token_expires_at, download_count,
  max_downloads, certificate_path, bundle_path, error_message, requested_at, updated_at
) on public.certificate_requests to app_readonly;

comment on table public.certificate_requests is
  'Client certificate orders and downloads. Written by the certificate service.';
comment on column public.certificate_requests.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.certificate_requests.user_id is 'The user the row belongs to.';
comment on column public.certificate_requests.request_type is 'CLIENT_CERT, SERVER_CERT or CA_CERT.';
comment on column public.certificate_requests.platform is 'windows, macos, linux, android or ios.';
comment on column public.certificate_requests.device_info is 'Facts about the device, as an object.';
comment on column public.certificate_requests.certificate_cn is 'Common name asked for.';
comment on column public.certificate_requests.certificate_san is 'Subject alternative names asked for.';
comment on column public.certificate_requests.key_size is 'Key size in bits.';
comment on column public.certificate_requests.validity_days is 'Life of the certificate in days.';
comment on column public.certificate_requests.status is 'PENDING, PROCESSING, READY, DOWNLOADED, EXPIRED or REVOKED; moved on by the certificate service.';
comment on column public.certificate_requests.generated_at is 'When the certificate was made.';
comment on column public.certificate_requests.expires_at is 'When the row stops being valid.';
comment on column public.certificate_requests.downloaded_at is 'When it was last downloaded.';
comment on column public.certificate_requests.revoked_at is 'When it was revoked; null while valid.';
comment on column public.certificate_requests.download_token is 'Token that opens the download, unique. Secret.';
comment on column public.certificate_requests.download_token_expires_at is 'When the token ends.';
comment on column public.certificate_requests.download_count is 'Downloads so far.';
comment on column public.certificate_requests.max_downloads is 'Downloads allowed.';
comment on column public.certificate_requests.certificate_path is 'Path of the certificate on the application''s disk.';
comment on column public.certificate_requests.bundle_path is 'Path of the installation bundle on the application''s disk.';
comment on column public.certificate_requests.error_message is 'What went wrong; null when nothing did.';
comment on column public.certificate_requests.requested_at is 'When it was asked for; set by the server.';
comment on column public.certificate_requests.updated_at is 'When the row was last changed; kept by a trigger.';

create table public.cross_service_auth (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  source_service varchar(50) not null,
  target_service varchar(50) not null,
  token_hash varchar(256) not null,
  permissions jsonb not null,
  scope varchar[] not null,
  issued_at timestamptz not null default now(),
  expires_at timestamptz not null,
  last_used_at timestamptz,
  is_active boolean not null default true,
  revoked_at timestamptz,
  revocation_reason varchar(100),
  constraint cross_service_auth_pkey primary key (id),
  constraint cross_service_auth_token_hash_key unique (token_hash),
  constraint cross_service_auth_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_cross_service_auth_expires_at on public.cross_service_auth (expires_at);
create index ix_cross_service_auth_is_active on public.cross_service_auth (is_active);
create index ix_cross_service_auth_source_service on public.cross_service_auth (source_service);
create index ix_cross_service_auth_target_service on public.cross_service_auth (target_service);
create index ix_cross_service_auth_user_id on public.cross_service_auth (user_id);

-- Secret: token_hash. The read-only role gets the other columns by name, so a column added later is hidden from it
-- until somebody decides otherwise.
revoke select on public.cross_service_auth from app_readonly;
grant select (
  id, user_id, source_service, target_service, permissions, scope, issued_at, expires_at, last_used_at, is_active,
  revoked_at, revocation_reason
) on public.cross_service_auth to app_readonly;

comment on table public.cross_service_auth is
  'Grants by which one service calls another on behalf of a user. Written by the token service.';
comment on column public.cross_service_auth.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.cross_service_auth.user_id is 'The user the row belongs to.';
comment on column public.cross_service_auth.source_service is 'Service that calls.';
comment on column public.cross_service_auth.target_service is 'Service that is called.';
comment on column public.cross_service_auth.token_hash is 'Hash of the token the services exchange, unique. Secret.';
comment on column public.cross_service_auth.permissions is 'What the grant allows, as an object.';
comment on column public.cross_service_auth.scope is 'Names of the scopes granted.';
comment on column public.cross_service_auth.issued_at is 'When it was issued; set by the server.';
comment on column public.cross_service_auth.expires_at is 'When the row stops being valid.';
comment on column public.cross_service_auth.last_used_at is 'When it was last used; null for never.';
comment on column public.cross_service_auth.is_active is 'True while the row is in force; set to false instead of deleting it.';
comment on column public.cross_service_auth.revoked_at is 'When it was revoked; null while valid.';
comment on column public.cross_service_auth.revocation_reason is 'Why it was revoked.';

create table public.qdrant_access_control (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  collection_name varchar(100) not null,
  access_level public.accesslevel not null,
  conditions jsonb,
  is_active boolean not null default true,
  expires_at timestamptz,
  created_at timestamptz not null default now(),
  constraint qdrant_access_control_pkey primary key (id),
  constraint qdrant_access_control_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_qdrant_access_control_collection_name on public.qdrant_access_control (collection_name);
create index ix_qdrant_access_control_expires_at on public.qdrant_access_control (expires_at);
create index ix_qdrant_access_control_is_active on public.qdrant_access_control (is_active);
create index ix_qdrant_access_control_user_id on public.qdrant_access_control (user_id);

comment on table public.qdrant_access_control is
  'Who may touch which vector collection. Written by the document service and by administrators.';
comment on column public.qdrant_access_control.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.qdrant_access_control.user_id is 'The user the row belongs to.';
comment on column public.qdrant_access_control.collection_name is 'Vector collection.';
comment on column public.qdrant_access_control.access_level is 'What is allowed.';
comment on column public.qdrant_access_control.conditions is 'Further conditions, as JSON.';
comment on column public.qdrant_access_control.is_active is 'True while the row is in force; set to false instead of deleting it.';
comment on column public.qdrant_access_control.expires_at is 'When the row stops being valid.';
comment on column public.qdrant_access_control.created_at is 'When the row was made; set by the server.';

create table public.encrypted_fields (
  id uuid not null default gen_random_uuid(),
  table_name varchar(64) not null,
  row_id varchar not null,
  field_name varchar(64) not null,
  encrypted_value text not null,
  encryption_key_id varchar(64) not null,
  encryption_algorithm varchar(50) not null default 'AES-256-GCM',
  data_classification varchar(20) not null default 'SENSITIVE',
  user_id integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint encrypted_fields_pkey primary key (id),
  constraint encrypted_fields_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_encrypted_fields_field_name on public.encrypted_fields (field_name);
create index ix_encrypted_fields_row_id on public.encrypted_fields (row_id);
create index ix_encrypted_fields_table_name on public.encrypted_fields (table_name);
create index ix_encrypted_fields_user_id on public.encrypted_fields (user_id);

create trigger encrypted_fields_set_updated_at
  before update on public.encrypted_fields
  for each row execute function public.set_updated_at();

-- Secret: encrypted_value. The read-only role gets the other columns by name, so a column added later is hidden
-- from it until somebody decides otherwise.
revoke select on public.encrypted_fields from app_readonly;
grant select (
  id, table_name, row_id, field_name, encryption_key_id, encryption_algorithm, data_classification, user_id,
  created_at, updated_at
) on public.encrypted_fields to app_readonly;

comment on table public.encrypted_fields is
  'Side table for values kept encrypted. Written by the encryption service.';
comment on column public.encrypted_fields.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.encrypted_fields.table_name is 'Table concerned, without its schema.';
comment on column public.encrypted_fields.row_id is 'Key of the row concerned, as text.';
comment on column public.encrypted_fields.field_name is 'Column the value belongs to.';
comment on column public.encrypted_fields.encrypted_value is 'Ciphertext. Secret.';
comment on column public.encrypted_fields.encryption_key_id is 'Identifier of the key in the application''s key store.';
comment on column public.encrypted_fields.encryption_algorithm is 'Cipher the value is encrypted with.';
comment on column public.encrypted_fields.data_classification is 'How confidential the data is.';
comment on column public.encrypted_fields.user_id is 'The user the row belongs to.';
comment on column public.encrypted_fields.created_at is 'When the row was made; set by the server.';
comment on column public.encrypted_fields.updated_at is 'When the row was last changed; kept by a trigger.';
