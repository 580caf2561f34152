import type { Client } from "pg";

/**
 * Approves every retention policy that waits for approval, without a check of its content.
 *
 * So a test can have a policy that `maintenance.approve_retention` would refuse, as if it became wrong later.
 */
export async function approveAll(owner: Client): Promise<void> {
  await owner.query(`
    insert into maintenance.retention_approvals (policy_id, table_name, retention_period_days, policy_type, conditions)
    select policy_id, table_name, retention_period_days, policy_type, conditions
    from maintenance.retention_status where state = 'proposed'`);
}
