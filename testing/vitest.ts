import { test as base } from "vitest";
import { testDatabase, type TestDatabase, type TestDatabaseOptions } from "./databases/test-database.ts";

/** What a test gets besides vitest's own context. */
export interface TestDatabaseFixture {
  /**
   * A database that the test has for itself. It goes back after the test. If the test fails, it is kept for 30 minutes.
   */
  db: TestDatabase;
}

/**
 * Makes vitest's `test` with a database in `db`, for tests that want another role, seed or phase.
 *
 * ```ts
 * const test = testWith({ seed: "test/seed.sql" });
 * ```
 *
 * @param options as for `testDatabase`; the label is the test's name by default
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

/** vitest's `test`. Each test has a database for itself in `db`: https://vitest.dev/guide/test-context */
export const test = testWith();
