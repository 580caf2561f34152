import type { Client } from "pg";
import { afterAll, beforeAll } from "vitest";
import { fillTables } from "./fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "./schema-database.ts";

export type Attacker = "app_user" | "app_readonly" | "app_monitor";

// Set before the first test of a file.
export let database: SchemaDatabase;
export let owner: Client;
export let superuser: Client;
export let clients: Record<Attacker, Client>;

/** Gives a file a database with rows in every table, and a connection of each role to it. */
export function attackDatabase(): void {
  beforeAll(async () => {
    database = await createSchemaDatabase("attacks");
    owner = await database.connect("ai_workflow_owner");
    superuser = await database.connect("postgres");
    clients = {
      app_user: await database.connect("app_user"),
      app_readonly: await database.connect("app_readonly"),
      app_monitor: await database.connect("app_monitor"),
    };
    await fillTables(owner, 2);
  });
  afterAll(async () => {
    await database?.close();
  });
}

/** Runs statements one by one, goes on after a refusal, and says how each of them ended. */
export async function endsOf(client: Client, statements: string | readonly string[]): Promise<string[]> {
  const ends: string[] = [];
  for (const sql of [statements].flat()) {
    ends.push(
      await client.query(sql).then(
        () => "done",
        (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
      ),
    );
  }
  await client.query("rollback");
  return ends;
}

export async function valuesOf(client: Client, sql: string, values: unknown[] = []): Promise<unknown[]> {
  return (await client.query({ text: sql, values, rowMode: "array" })).rows.flat();
}
