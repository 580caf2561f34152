import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Client } from "pg";
import { readApplied } from "../../migrate/run/applied.ts";
import { type Migration, readMigrations } from "../../migrate/chain/files.ts";
import { applyMigrations } from "../../migrate/run/runner.ts";
import { type ClientRole, ROLES } from "../../database/access/roles.ts";
import { testDatabase } from "../../testing/databases/test-database.ts";

/** The package's own migrations. */
export const MIGRATIONS_FOLDER = fileURLToPath(new URL("../../migrations", import.meta.url));

/** A test database for one test file, with the means to move it along the chain. */
export interface SchemaDatabase {
  readonly name: string;
  readonly migrations: readonly Migration[];
  /** A connection as a role. */
  connect(role: ClientRole): Promise<Client>;
  /** Applies the chain up to and including the `count`th migration. */
  up(count?: number): Promise<void>;
  /** Takes back the last `steps` migrations. */
  down(steps: number): Promise<void>;
  /** Closes every connection and drops the database, unless a test failed: then it prints how to connect. */
  close(failed?: boolean): Promise<void>;
}

/**
 * Takes a test database.
 *
 * @param options.empty whether no migration is applied; all are applied if not given
 */
export async function createSchemaDatabase(label: string, { empty = false } = {}): Promise<SchemaDatabase> {
  const noMigrations = mkdtempSync(path.join(tmpdir(), "no-migrations-"));
  const database = await testDatabase({
    label,
    role: ROLES.owner,
    ...(empty ? { migrationsFolder: noMigrations } : {}),
  }).finally(() => rmSync(noMigrations, { recursive: true }));
  const migrations = readMigrations(MIGRATIONS_FOLDER);
  const migrator = await database.connect();
  const common = { client: migrator, folder: MIGRATIONS_FOLDER, report: () => {} };
  return {
    name: database.name,
    migrations,
    connect: (role) => database.connect(role),
    up: async (count = migrations.length) => {
      await applyMigrations({ ...common, direction: "up", migrations: migrations.slice(0, count) });
    },
    down: async (steps) => {
      const applied = await readApplied(migrator);
      const undo = applied
        .slice(-steps)
        .map(({ name }) => name)
        .toReversed();
      await applyMigrations({ ...common, direction: "down", migrations, undo });
    },
    close: (failed = false) => (failed ? database.keep(`failed: ${label}`) : database.drop()),
  };
}
