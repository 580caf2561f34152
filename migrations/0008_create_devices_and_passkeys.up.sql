-- Phase: 2
-- Why: devices come before what refers to them: passkeys and login attempts.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.devicetype as enum ('desktop', 'mobile', 'tablet', 'unknown');
create type public.devicesecuritylevel as enum ('always_login', 'auto_login', 'always_2fa');

create table public.registered_devices (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  device_name varchar(255) not null,
  device_fingerprint varchar(512) not null,
  user_agent text not null,
  device_type public.devicetype not null default 'unknown',
  security_level public.devicesecuritylevel not null default 'always_login',
  is_remembered boolean not null default false,
  remember_expires_at timestamptz,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  last_ip_address varchar(45),
  location_info json,
  is_active boolean not null default true,
  is_trusted boolean not null default false,
  refresh_token_hash varchar(512),
  constraint registered_devices_pkey primary key (id),
  constraint registered_devices_device_fingerprint_key unique (device_fingerprint),
  constraint registered_devices_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_registered_devices_user_id on public.registered_devices (user_id);

-- Secret: refresh_token_hash. The read-only role gets the other columns by name, so a column added later is hidden
-- from it until somebody decides otherwise.
revoke select on public.registered_devices from app_readonly;
grant select (
  id, user_id, device_name, device_fingerprint, user_agent, device_type, security_level, is_remembered,
  remember_expires_at, first_seen_at, last_seen_at, last_ip_address, location_info, is_active, is_trusted
) on public.registered_devices to app_readonly;

comment on table public.registered_devices is
  'Devices known per user and how far each is trusted. Written by the login service.';
comment on column public.registered_devices.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.registered_devices.user_id is 'The user the row belongs to.';
comment on column public.registered_devices.device_name is 'Name the user gave to the device.';
comment on column public.registered_devices.device_fingerprint is 'Hash over properties of the device, made by the client; unique over all users.';
comment on column public.registered_devices.user_agent is 'User-Agent header of the client.';
comment on column public.registered_devices.device_type is 'Kind of device, guessed from the User-Agent header.';
comment on column public.registered_devices.security_level is 'Login rule of this device; chosen by the user.';
comment on column public.registered_devices.is_remembered is 'True when the user asked to stay logged in on the device.';
comment on column public.registered_devices.remember_expires_at is 'When staying logged in ends.';
comment on column public.registered_devices.first_seen_at is 'When the device was registered.';
comment on column public.registered_devices.last_seen_at is 'When the device was last used to log in.';
comment on column public.registered_devices.last_ip_address is 'Address of the last login; wide enough for IPv6.';
comment on column public.registered_devices.location_info is 'Coarse place of the last login, as JSON; looked up by address.';
comment on column public.registered_devices.is_active is 'False once the device was removed by its user.';
comment on column public.registered_devices.is_trusted is 'True once the user or an administrator trusted the device.';
comment on column public.registered_devices.refresh_token_hash is 'Hash of the device''s refresh token. Secret.';

create table public.passkey_credentials (
  id uuid not null default gen_random_uuid(),
  user_id integer not null,
  credential_id varchar(1024) not null,
  public_key text not null,
  sign_count integer not null default 0,
  name varchar(255) not null,
  authenticator_type varchar(50),
  backup_eligible boolean not null default false,
  backup_state boolean not null default false,
  registered_at timestamptz not null default now(),
  last_used_at timestamptz,
  device_id uuid,
  is_active boolean not null default true,
  constraint passkey_credentials_pkey primary key (id),
  constraint passkey_credentials_credential_id_key unique (credential_id),
  constraint passkey_credentials_device_id_fkey foreign key (device_id) references public.registered_devices (id)
    on delete set null,
  constraint passkey_credentials_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_passkey_credentials_user_id on public.passkey_credentials (user_id);
create index idx_passkey_credentials_device on public.passkey_credentials (device_id);

-- Secret: credential_id and public_key. The read-only role gets the other columns by name, so a column added later
-- is hidden from it until somebody decides otherwise.
revoke select on public.passkey_credentials from app_readonly;
grant select (
  id, user_id, sign_count, name, authenticator_type, backup_eligible, backup_state, registered_at, last_used_at,
  device_id, is_active
) on public.passkey_credentials to app_readonly;

comment on table public.passkey_credentials is
  'WebAuthn credentials. Written by the two-factor service at registration and at each use.';
comment on column public.passkey_credentials.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.passkey_credentials.user_id is 'The user the row belongs to.';
comment on column public.passkey_credentials.credential_id is 'Credential identifier given by the authenticator, base64. Secret.';
comment on column public.passkey_credentials.public_key is 'Public key of the passkey, CBOR in base64; treated as secret, as it identifies the authenticator.';
comment on column public.passkey_credentials.sign_count is 'Signature counter of the authenticator; a step back means a cloned key.';
comment on column public.passkey_credentials.name is 'Name the user gave to the passkey.';
comment on column public.passkey_credentials.authenticator_type is 'platform or roaming.';
comment on column public.passkey_credentials.backup_eligible is 'Whether the authenticator may back the key up.';
comment on column public.passkey_credentials.backup_state is 'Whether the key is backed up now.';
comment on column public.passkey_credentials.registered_at is 'When the passkey was registered.';
comment on column public.passkey_credentials.last_used_at is 'When it was last used; null for never.';
comment on column public.passkey_credentials.device_id is 'Known device the row belongs to; null when unknown or removed.';
comment on column public.passkey_credentials.is_active is 'True while the row is in force; set to false instead of deleting it.';
