import { expect, inject, it } from "vitest";
import { libpqUrl } from "../../database/libpq.ts";
import { connectionFor } from "../../stack/connections.ts";
import { runSqlalchemyProgram } from "../helpers/python.ts";

it(
  "SQLAlchemy inserts, reads, updates and deletes in every table under its model's name, as app_user through the pooler's transaction mode over mTLS",
  { timeout: 180_000 },
  async () => {
    const { outputs } = inject("stack");
    expect(await runSqlalchemyProgram(libpqUrl(connectionFor(outputs, "app_user", "transaction")))).toEqual({
      role: "app_user",
      reflected_tables: 78,
      declared_models: 9,
      report_names: 14,
      named_changes: 6,
    });
  },
);
