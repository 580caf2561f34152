import type { Client } from "pg";

/** How much {@link fillVolume} writes. */
export interface Volume {
  readonly users: number;
  /** Rows of all six logs together, spread evenly over the months. */
  readonly logRows: number;
  /** Months up to now over which the logs are spread. */
  readonly months: number;
}

/**
 * Fills an empty schema with users, what they own, and their logs, for measurements.
 *
 * The client has to be the owner. The rows of one user are spread over all months, as they are in production.
 */
export async function fillVolume(client: Client, { users, logRows, months }: Volume): Promise<void> {
  await client.query("begin");
  await client.query(
    `insert into public.users (username, email, hashed_password, status)
     select 'user ' || n, 'user' || n || '@example.org', 'hash', 'active' from generate_series(1, $1) as n`,
    [users],
  );
  await client.query(`
    insert into public.user_profiles (user_id, first_name, phone_number) select id, username, '+49301234567' from public.users;
    insert into public.calendars (user_id) select id from public.users;
    insert into public.events (calendar_id, summary, start_time, end_time, movability_score, is_movable)
      select id, 'event ' || n, now() + n * interval '1 day', now() + n * interval '1 day 1 hour', 0.5, true
      from public.calendars, generate_series(1, 5) as n;
    insert into public.tasks (user_id, title) select id, 'task ' || n from public.users, generate_series(1, 5) as n;
    insert into public.chat_messages (session_id, user_id, message_type, content, message_order)
      select 'session of ' || id, id, 'human', 'message ' || n, n from public.users, generate_series(1, 10) as n;
    insert into public.authentication_sessions (session_id, user_id, created_at, expires_at)
      select 'bearer ' || id, id, now() - interval '1 day', now() + interval '1 day' from public.users;
  `);
  const time = `now() - random() * ${Number(months)} * interval '30 days'`;
  const user = `(select min(id) from public.users) + (random() * ${Number(users) - 1})::integer`;
  const each = Math.floor(logRows / 6);
  const logs = [
    `public.device_login_attempts (user_id, email, device_fingerprint, ip_address, user_agent, was_successful, attempted_at)
     select ${user}, 'user' || n || '@example.org', 'print ' || n, '192.0.2.' || n % 250, 'browser', n % 10 <> 0, ${time}`,
    `public.two_factor_audit_log (user_id, action, success, created_at)
     select ${user}, 'authentication_success', true, ${time}`,
    `public.connection_health_metrics (user_id, total_requests, health_status, recorded_at)
     select ${user}, 10, 'healthy', ${time}`,
    `audit.audit_log (table_name, operation, row_id, new_values, security_context, created_at)
     select 'tasks', 'UPDATE', n::text, jsonb_build_object('title', n), jsonb_build_object('subject_user_id', ${user}), ${time}`,
    `audit.data_access_log (user_id, service_name, access_type, table_name, created_at)
     select ${user}, 'service ' || n % 10, 'READ', 'tasks', ${time}`,
    `audit.security_metrics (metric_name, metric_type, metric_value, recorded_at)
     select 'metric ' || n % 50, 'counter', n, ${time}`,
  ];
  for (const log of logs) await client.query(`insert into ${log} from generate_series(1, ${each}) as n`);
  await client.query("commit");
  await client.query("analyze");
}
