import type { Client } from "pg";
import { afterAll, beforeAll } from "vitest";
import { createSchemaDatabase, type SchemaDatabase } from "./schema-database.ts";

// Set before the first test of a file.
export let database: SchemaDatabase;
export let owner: Client;
export let app: Client;

/** Gives a file a database with one user. */
export function retentionDatabase(): void {
  beforeAll(async () => {
    database = await createSchemaDatabase("retention");
    await database.up();
    owner = await database.connect("ai_workflow_owner");
    app = await database.connect("app_user");
    await owner.query(
      "insert into public.users (username, email, hashed_password) values ('ada', 'ada@example.org', 'x')",
    );
  });
  afterAll(async () => {
    await database?.close();
  });
}

export interface Policy {
  readonly table: string;
  readonly days?: number;
  readonly type?: "ARCHIVE" | "DELETE" | "ANONYMIZE";
  readonly conditions?: unknown;
}

/** Writes a policy and gives its key. */
export async function write(
  client: Client,
  { table, days = 30, type = "DELETE", conditions }: Policy,
): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    `insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
     values ($1, $2, $3, $4) returning id`,
    [table, days, type, conditions === undefined ? null : JSON.stringify(conditions)],
  );
  return rows[0]?.id ?? "";
}

export async function rowsOf<Row>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return (await owner.query(sql, values)).rows as Row[];
}

export async function stateOf(id: string): Promise<string | undefined> {
  return (
    await rowsOf<{ state: string }>("select state from maintenance.retention_status where policy_id = $1", [id])
  )[0]?.state;
}

export async function namesOfProjects(): Promise<string[]> {
  return (await rowsOf<{ name: string }>("select name from public.projects order by 1")).map(({ name }) => name);
}

/** Warnings of the server while something runs. */
export async function warningsOf(client: Client, work: () => Promise<unknown>): Promise<string[]> {
  const warnings: string[] = [];
  const listen = ({ message }: { message?: string | undefined }) => void warnings.push(message ?? "");
  client.on("notice", listen);
  await work();
  client.off("notice", listen);
  return warnings;
}

/** Removes the policies that are not default ones, and empties the log of retention. */
export async function dropPolicies(): Promise<void> {
  await owner.query("delete from audit.data_retention_logs");
  await owner.query("delete from public.data_retention_policies where conditions -> 'is_default' is null");
}

export const approve = (id: string, digest?: string) =>
  owner.query("select maintenance.approve_retention($1, $2)", [id, digest ?? null]);
export const run = () => owner.query("call maintenance.apply_retention()");
