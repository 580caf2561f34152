/** A log that the application may add to, and the values that it has to give. */
export interface Log {
  readonly table: string;
  /** A view with the schema report's name that shows the entry's date. */
  readonly view?: string;
  /** A view with the schema report's name that does not show the entry's date. */
  readonly report?: string;
  readonly date: string;
  /** What has to be given, as SQL. */
  readonly values: Readonly<Record<string, string>>;
  /** Whether the application may update rows. */
  readonly changeable?: boolean;
}

export const USER = "(select min(id) from public.users)";
export const LOGS: readonly Log[] = [
  {
    table: "audit.audit_log",
    view: "public.audit_log",
    date: "created_at",
    values: { table_name: "'users'", operation: "'DELETE'" },
  },
  {
    table: "audit.data_access_log",
    view: "public.data_access_log",
    date: "created_at",
    values: { user_id: USER, service_name: "'forged'", access_type: "'READ'", table_name: "'users'" },
  },
  {
    table: "audit.data_retention_logs",
    view: "public.data_retention_logs",
    date: "executed_at",
    values: {
      policy_id: "'00000000-0000-4000-8000-000000000001'",
      table_name: "'tasks'",
      retention_action: "'DELETE'",
      criteria_applied: "'{}'",
      scheduled_at: "now()",
      compliance_reason: "'forged'",
    },
  },
  {
    table: "audit.enterprise_audit_events",
    view: "public.enterprise_audit_event",
    date: "processing_timestamp",
    changeable: true,
    values: {
      event_id: "gen_random_uuid()",
      event_type: "'USER_ERASED'",
      event_category: "'COMPLIANCE_EVENT'",
      event_severity: "'LOW'",
      event_timestamp: "now()",
      service_name: "'privacy.erase_user'",
      event_description: "'forged'",
      event_outcome: "'SUCCESS'",
    },
  },
  {
    table: "audit.security_metrics",
    view: "public.security_metrics",
    date: "recorded_at",
    values: { metric_name: "'logins'", metric_type: "'counter'", metric_value: "1" },
  },
  {
    table: "audit.security_violations",
    view: "public.security_violations",
    date: "created_at",
    changeable: true,
    values: { violation_type: "'forged'", severity: "'LOW'", violation_details: "'{}'" },
  },
  {
    table: "audit.threat_intelligence_events",
    report: "public.threat_intelligence_event",
    date: "recorded_at",
    changeable: true,
    values: {
      threat_id: "gen_random_uuid()",
      threat_type: "'BRUTE_FORCE'",
      threat_name: "'forged'",
      threat_description: "'forged'",
      severity: "'LOW'",
      detected_at: "now()",
      detection_method: "'rule'",
    },
  },
  {
    table: "public.device_login_attempts",
    date: "attempted_at",
    values: {
      email: "'a@example.org'",
      device_fingerprint: "'x'",
      ip_address: "'192.0.2.1'",
      user_agent: "'x'",
      was_successful: "true",
    },
  },
  {
    table: "public.router_decision_log",
    date: "created_at",
    values: { session_id: "'chat'", user_request: "'x'", routing_decision: "'{}'" },
  },
  {
    table: "public.two_factor_audit_log",
    date: "created_at",
    values: { action: "'admin_override'", success: "true" },
  },
];

export function insertInto(relation: string, { values }: Log, more: Record<string, string> = {}): string {
  const all = { ...values, ...more };
  return `insert into ${relation} (${Object.keys(all).join(", ")}) values (${Object.values(all).join(", ")})`;
}
