import type { Client } from "pg";
import { readTables } from "./fill-tables.ts";

/**
 * Adds what the application writes about Ada before it knows who she is: a trail without a user, and measures that name
 * her by her key.
 */
export async function addUnreferenced(owner: Client, ada: number, bob: number): Promise<void> {
  await owner.query(`
    insert into audit.audit_log (table_name, operation, row_id, old_values, new_values, ip_address, user_agent, session_id, query, security_context)
    values ('users', 'UPDATE', '${ada}', '{"theme": "dark"}', '{"theme": "light"}', '203.0.113.7', 'agent of hers', 'her session', 'update of hers',
      '{"subject_user_id": ${ada}}')`);
  await owner.query(`
    insert into public.security_actions (action_type, target, reason, evidence, severity, execution_details)
    values ('USER_SUSPEND', '${ada}', 'reason about her', '{"address": "203.0.113.7"}', 'LOW', '{"address": "203.0.113.7"}'),
      ('ACCOUNT_LOCKOUT', 'person0@example.org', 'reason about her', '{"address": "203.0.113.7"}', 'LOW', null),
      ('USER_SUSPEND', '${bob}', 'reason about him', '{"address": "198.51.100.9"}', 'LOW', null)`);
  await owner.query(`
    insert into audit.audit_log (table_name, operation, row_id, new_values, ip_address, user_agent, query)
    values ('access_requests', 'INSERT', 'x', '{"email": "person0@example.org"}', '203.0.113.7', 'agent of hers', 'insert of hers')`);
  await owner.query(`
    insert into audit.audit_log (table_name, operation, row_id, user_id, ip_address, user_agent, session_id, query)
    values ('two_factor_policies', 'UPDATE', 'y', ${ada}, '203.0.113.7', 'agent of hers', 'her session', 'update of hers')`);
}

/** What {@link addUnreferenced} wrote about Ada. */
export const UNREFERENCED = [
  "203.0.113.7",
  "agent of hers",
  "her session",
  "update of hers",
  "insert of hers",
  "reason about her",
];

/** Tables in which a text occurs. */
export async function tablesWith(owner: Client, text: string): Promise<string[]> {
  const found: string[] = [];
  for (const { name } of await readTables(owner)) {
    const { rowCount } = await owner.query(`select from ${name} as entry where to_jsonb(entry)::text like $1 limit 1`, [
      `%${text}%`,
    ]);
    if (rowCount) found.push(name);
  }
  return found;
}

export async function tablesWithEach(owner: Client, texts: readonly string[]): Promise<[string, string[]][]> {
  const found: [string, string[]][] = [];
  for (const text of texts) found.push([text, await tablesWith(owner, text)]);
  return found;
}
