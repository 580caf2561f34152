import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { libpqUrl } from "../../cli/stack/libpq.ts";
import { connectionFor } from "../../cli/stack/status.ts";
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

const EVERYTHING = { role: "app_user", reflected_tables: 78, declared_models: 9, report_names: 14 };

describe("the application's SQLAlchemy", () => {
  it(
    "inserts, reads, updates and deletes in every table under its model's name, as app_user",
    { timeout: 180_000 },
    async () => {
      const url = new URL(database.url);
      url.searchParams.set("options", "-c role=app_user");
      expect(await runSqlalchemyProgram(url.href)).toEqual(EVERYTHING);
    },
  );

  it("does the same in the stack, through the pooler's transaction mode over mTLS", { timeout: 180_000 }, async () => {
    const { outputs } = inject("stack");
    expect(await runSqlalchemyProgram(libpqUrl(connectionFor(outputs, "app_user", "transaction")))).toEqual(EVERYTHING);
  });
});
