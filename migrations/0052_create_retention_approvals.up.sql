-- Phase: 4
-- Why: a retention policy is a proposal until the owner approves it, and counts only while its row is what was approved:
--   a change by the application makes it a proposal again.
-- Lock: SHARE ROW EXCLUSIVE on public.data_retention_policies from the triggers to the end of the run: writes there wait,
--   reads do not.

create table maintenance.retention_approvals (
  policy_id uuid not null,
  table_name text not null,
  retention_period_days integer not null,
  policy_type public.retentionpolicytype not null,
  conditions jsonb,
  approved_at timestamptz not null default now(),
  approved_by text not null default session_user,
  constraint retention_approvals_pkey primary key (policy_id)
);

comment on table maintenance.retention_approvals is
  'Retention policies as the owner approved them; without a reference to their rows, which the application may delete. Written by maintenance.approve_retention.';
comment on column maintenance.retention_approvals.policy_id is 'Row of public.data_retention_policies.';
comment on column maintenance.retention_approvals.table_name is 'Table, as approved.';
comment on column maintenance.retention_approvals.retention_period_days is 'Days, as approved.';
comment on column maintenance.retention_approvals.policy_type is 'What happens to rows past their time, as approved.';
comment on column maintenance.retention_approvals.conditions is 'Column and restriction, as approved.';
comment on column maintenance.retention_approvals.approved_at is 'When it was approved.';
comment on column maintenance.retention_approvals.approved_by is 'Role that approved it, or the migration.';

create function maintenance.retention_digest(
  p_table_name text, p_days integer, p_type public.retentionpolicytype, p_conditions jsonb
) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
return left(
  encode(sha256(convert_to(jsonb_build_array(p_table_name, p_days, p_type, p_conditions)::text, 'UTF8')), 'hex'), 16
);

comment on function maintenance.retention_digest(text, integer, public.retentionpolicytype, jsonb) is
  'Digest of what a policy says, so that what is approved is what was looked at.';
revoke execute on function maintenance.retention_digest(text, integer, public.retentionpolicytype, jsonb) from public;

create view maintenance.retention_status as
select
  coalesce(policy.id, approval.policy_id) as policy_id,
  case
    when policy.id is null then 'gone'
    when not policy.is_active then 'off'
    when approval.policy_id is null then 'proposed'
    when (policy.table_name, policy.retention_period_days, policy.policy_type, policy.conditions)
      is not distinct from
      (approval.table_name, approval.retention_period_days, approval.policy_type, approval.conditions)
      then 'approved'
    else 'changed'
  end as state,
  coalesce(policy.table_name, approval.table_name) as table_name,
  coalesce(policy.retention_period_days, approval.retention_period_days) as retention_period_days,
  coalesce(policy.policy_type, approval.policy_type) as policy_type,
  case when policy.id is null then approval.conditions else policy.conditions end as conditions,
  policy.last_run_at,
  approval.approved_at,
  approval.approved_by
from public.data_retention_policies as policy
full join maintenance.retention_approvals as approval on approval.policy_id = policy.id;

comment on view maintenance.retention_status is
  'Every retention policy and whether it is carried out: approved; proposed or changed, until the owner approves it; off; gone, if only its approval is left.';

create function maintenance.approve_retention(p_policy_id uuid, p_digest text default null)
returns maintenance.retention_approvals
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_policy public.data_retention_policies;
  v_digest text;
  v_problems text[];
  v_approval maintenance.retention_approvals;
begin
  -- Locked, so that the application can't change it between the look and the approval.
  select * into v_policy from public.data_retention_policies where id = p_policy_id for update;
  if not found then
    raise exception 'There is no retention policy %.', p_policy_id
      using errcode = 'no_data_found', hint = 'The key is public.data_retention_policies.id.';
  end if;
  v_digest := maintenance.retention_digest(
    v_policy.table_name, v_policy.retention_period_days, v_policy.policy_type, v_policy.conditions
  );
  if p_digest <> v_digest then
    raise exception 'Retention policy % is not what was looked at: its digest is %, not %.', p_policy_id, v_digest, p_digest
      using errcode = 'object_not_in_prerequisite_state', hint = 'Look at it again; somebody has changed it.';
  end if;

  select array_agg(found.problem)
  into v_problems
  from maintenance.retention_problems(
    v_policy.table_name, v_policy.retention_period_days, v_policy.policy_type, v_policy.conditions, true
  ) as found;
  if not v_policy.is_active then
    v_problems := v_problems || text 'is_active is false; the policy is switched off.';
  end if;
  if v_problems is not null then
    raise exception e'Retention policy % can''t be approved (% problems):\n- %',
      p_policy_id, cardinality(v_problems), array_to_string(v_problems, e'\n- ')
      using errcode = 'object_not_in_prerequisite_state', hint = 'Change the row, then look at it again.';
  end if;

  insert into maintenance.retention_approvals as approval (
    policy_id, table_name, retention_period_days, policy_type, conditions
  )
  values (
    v_policy.id, v_policy.table_name, v_policy.retention_period_days, v_policy.policy_type, v_policy.conditions
  )
  on conflict on constraint retention_approvals_pkey do update set
    table_name = excluded.table_name,
    retention_period_days = excluded.retention_period_days,
    policy_type = excluded.policy_type,
    conditions = excluded.conditions,
    approved_at = excluded.approved_at,
    approved_by = excluded.approved_by
  returning * into v_approval;
  return v_approval;
end
$$;

comment on function maintenance.approve_retention(uuid, text) is
  'Approves a row of public.data_retention_policies as it is now, so that maintenance carries it out. With a digest only if the row is what the digest was made of.';
revoke execute on function maintenance.approve_retention(uuid, text) from public;

create function maintenance.withdraw_retention(p_policy_id uuid) returns maintenance.retention_approvals
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_approval maintenance.retention_approvals;
begin
  delete from maintenance.retention_approvals where policy_id = p_policy_id returning * into v_approval;
  if not found then
    raise exception 'Retention policy % is not approved, so there is nothing to withdraw.', p_policy_id
      using errcode = 'no_data_found';
  end if;
  return v_approval;
end
$$;

comment on function maintenance.withdraw_retention(uuid) is
  'Takes an approval back; the row stays and is a proposal again.';
revoke execute on function maintenance.withdraw_retention(uuid) from public;

create function maintenance.forget_approval() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What the owner switches off or deletes stays so, whoever switches it on or writes the same row again.
  if pg_has_role(current_user, (select class.relowner from pg_class as class where class.oid = tg_relid), 'member') then
    delete from maintenance.retention_approvals where policy_id = old.id;
  end if;
  return null;
end
$$;

comment on function maintenance.forget_approval() is
  'Trigger: withdraws the approval of a retention policy that the owner switches off or deletes.';
revoke execute on function maintenance.forget_approval() from public;

create trigger data_retention_policies_forget_deleted
  after delete on public.data_retention_policies
  for each row execute function maintenance.forget_approval();
create trigger data_retention_policies_forget_off
  after update on public.data_retention_policies
  for each row when (old.is_active and not new.is_active) execute function maintenance.forget_approval();
