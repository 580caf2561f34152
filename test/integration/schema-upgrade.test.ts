import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { fillTables, readTables } from "../helpers/fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

/** The last migration of release 0.1.0's first chain. */
const RELEASED = "0048_create_maintenance_run";

let database: SchemaDatabase;
let owner: Client;
let failed = false;

beforeAll(async () => {
  database = await createSchemaDatabase("upgrade", { empty: true });
  owner = await database.connect("ai_workflow_owner");
});
afterEach(({ task }) => {
  failed ||= task.result?.state === "fail";
});
afterAll(async () => {
  await database?.close(failed);
});

/** Every row of every table, in the columns it has now. */
async function columnsOf(): Promise<Map<string, string>> {
  return new Map(
    (await readTables(owner)).map(({ name, columns }) => [
      name,
      columns.map((column) => `"${column.name}"::text`).join(", "),
    ]),
  );
}

async function rowsOf(columns: ReadonlyMap<string, string>): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const [table, list] of columns)
    found[table] = (await owner.query(`select array[${list}] as row from ${table} order by 1`)).rows;
  return found;
}

it("a database of the release before takes the new migrations and keeps every row, forwards and back", async () => {
  const released = database.migrations.findIndex(({ name }) => name === RELEASED) + 1;
  expect(released).toBe(48);
  await database.up(released);
  await fillTables(owner, 18);
  const columns = await columnsOf();
  const before = await rowsOf(columns);
  expect(before["public.users"]).toHaveLength(18);
  expect(before["audit.audit_log"]?.length).toBeGreaterThan(18);

  await database.up();
  expect(await rowsOf(columns)).toEqual(before);

  await database.down(database.migrations.length - released);
  expect(await rowsOf(columns)).toEqual(before);
});
