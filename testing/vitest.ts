import { test as base } from "vitest";
import { testDatabase, type TestDatabase, type TestDatabaseOptions } from "./databases/test-database.ts";

/** What a test gets besides vitest's own context. */
export interface TestDatabaseFixture {
  /** A database of its own; dropped after the test, kept for a while if the test fails. */
  db: TestDatabase;
}

/**
 * vitest's `test` with a database of its own in `db`, for tests that want another role, seed or phase.
 *
 * ```ts
 * const test = testWith({ seed: "test/seed.sql" });
 * ```
 */
export function testWith(options: TestDatabaseOptions = {}) {
  return base.extend<TestDatabaseFixture>({
    db: async ({ task }, use) => {
      const db = await testDatabase({ label: task.name, ...options });
      await use(db);
      if (task.result?.state === "fail") await db.keep(`failed: ${task.name}`);
      else await db.drop();
    },
  });
}

/** vitest's `test`, with a database of its own in `db`. */
export const test = testWith();
