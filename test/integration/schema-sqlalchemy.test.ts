import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runSqlalchemyProgram } from "../helpers/python.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase;

beforeAll(async () => {
  database = await createSchemaDatabase("sqlalchemy");
  await database.up();
}, 60_000);
afterAll(async () => {
  await database?.close();
});

describe("the application's SQLAlchemy", () => {
  it(
    "inserts, reads, updates and deletes in every table under its model's name, as app_user",
    { timeout: 180_000 },
    async () => {
      const url = new URL(database.url);
      url.searchParams.set("options", "-c role=app_user");
      expect(await runSqlalchemyProgram(url.href)).toEqual({
        role: "app_user",
        reflected_tables: 78,
        declared_models: 9,
        report_names: 14,
      });
    },
  );
});
