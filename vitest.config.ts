import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/helpers/longest-first.ts";

const MINUTE = 60_000;

/** Tests of migrations and schema need a server and databases, but no stack. */
const ON_TEST_DATABASES = [
  "test/integration/migration-*.test.ts",
  "test/integration/schema-!(docs|sqlalchemy).test.ts",
];

/** Files that make a server or a stack of their own, and need not leave the machine to it. */
const ON_THEIR_OWN = [
  "test/integration/testdb*.test.ts",
  "test/integration/{changed-roles,extensions,further-roles,pooler-state,provider-network,rotation,secrets-logged,toolchain-images}.test.ts",
];

// One group after the other: what the quick tests find need not wait for a stack. Files that have a stack wait for
// containers much of the time, so two of them run side by side.
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          sequence: { groupOrder: 0 },
          maxWorkers: 2,
          // A guard against hanging only: a machine that is busy with other stacks is many times slower.
          testTimeout: 2 * MINUTE,
          hookTimeout: 2 * MINUTE,
          expect: { poll: { timeout: MINUTE } },
        },
      },
      {
        test: {
          name: "schema",
          include: ON_TEST_DATABASES,
          // The package's own server for tests: each file has a database of its own in milliseconds, side by side.
          globalSetup: ["test/helpers/test-server.ts"],
          setupFiles: ["test/helpers/test-server-environment.ts"],
          sequence: { groupOrder: 1 },
          maxWorkers: 2,
          testTimeout: 3 * MINUTE,
          hookTimeout: 5 * MINUTE,
          expect: { poll: { timeout: MINUTE } },
        },
      },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          exclude: [...ON_TEST_DATABASES, ...ON_THEIR_OWN],
          // Brings one real stack up for all files, which take turns; each makes its own databases, sessions and load
          // in it.
          globalSetup: ["test/helpers/real-stack.ts"],
          setupFiles: ["test/helpers/real-stack-environment.ts"],
          sequence: { groupOrder: 2 },
          maxWorkers: 2,
          testTimeout: 3 * MINUTE,
          hookTimeout: 5 * MINUTE,
          expect: { poll: { timeout: MINUTE } },
        },
      },
      {
        test: {
          name: "own",
          include: ON_THEIR_OWN,
          sequence: { groupOrder: 2 },
          maxWorkers: 2,
          testTimeout: 5 * MINUTE,
          hookTimeout: 5 * MINUTE,
          expect: { poll: { timeout: MINUTE } },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          sequence: { groupOrder: 2 },
          maxWorkers: 2,
          testTimeout: 10 * MINUTE,
          hookTimeout: 10 * MINUTE,
          expect: { poll: { timeout: MINUTE } },
        },
      },
      {
        test: {
          // What takes minutes and guards a part that seldom changes: `npm run test:long`, not a part of `npm test`.
          name: "long",
          include: ["test/long/**/*.test.ts"],
          sequence: { groupOrder: 4 },
          fileParallelism: false,
          testTimeout: 10 * MINUTE,
          hookTimeout: 10 * MINUTE,
        },
      },
      {
        test: {
          name: "examples",
          include: ["examples/**/*.test.ts"],
          // As a suite of a user's has it, but for the server: it finds one that runs.
          globalSetup: ["test/helpers/test-server.ts", "testing/vitest-setup.ts"],
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
