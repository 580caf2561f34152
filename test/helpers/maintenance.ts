import type { Client } from "pg";
import { afterAll, beforeAll } from "vitest";
import { createSchemaDatabase, type SchemaDatabase } from "./schema-database.ts";

// Set before the first test of a file.
export let database: SchemaDatabase;
export let owner: Client;
export let app: Client;

/** Gives a file a database to maintain. */
export function maintainedDatabase(): void {
  beforeAll(async () => {
    database = await createSchemaDatabase("maintenance");
    await database.up();
    owner = await database.connect("ai_workflow_owner");
    app = await database.connect("app_user");
  });
  afterAll(async () => {
    await database?.close();
  });
}

export async function rowsOf<Row>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return (await owner.query(sql, values)).rows as Row[];
}

export async function numberOf(sql: string): Promise<number> {
  return Number((await rowsOf<{ count: string }>(`select count(*) from ${sql}`))[0]?.count);
}

/** How often a statement was answered while something else ran. */
export async function answersDuring(client: Client, sql: string, other: Promise<unknown>): Promise<number> {
  const state = { running: true };
  const end = other.finally(() => (state.running = false));
  let answers = 0;
  while (state.running) {
    await client.query(sql);
    answers += 1;
  }
  await end;
  return answers;
}

export const LOGS = [
  "audit_log",
  "connection_health_metrics",
  "data_access_log",
  "device_login_attempts",
  "router_decision_log",
  "security_metrics",
  "security_violations",
  "two_factor_audit_log",
];

/** Writes an entry of a log as the owner, because the application can't choose an entry's date. */
export async function insertMetrics(count: number, age: string): Promise<void> {
  await owner.query(
    `insert into audit.security_metrics (metric_name, metric_type, metric_value, recorded_at)
     select 'logins', 'counter', number, now() - $2::interval from generate_series(1, $1) as number`,
    [count, age],
  );
}
