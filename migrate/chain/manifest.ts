import { type Problem, StateError } from "../../base/errors.ts";
import { type Migration, readMigrations } from "./files.ts";

/** Which migrations a process has read, for another process that reads the same folder later. */
export interface Manifest {
  /** Names in the chain's order. */
  readonly migrations: readonly string[];
  /** By name: the semantic checksum of the up file. */
  readonly checksums: Readonly<Record<string, string>>;
}

/** The manifest of migrations that were read. */
export function manifestOf(migrations: readonly Migration[]): Manifest {
  return {
    migrations: migrations.map(({ name }) => name),
    checksums: Object.fromEntries(migrations.map(({ name, checksum }) => [name, checksum])),
  };
}

/**
 * Reads the migrations of a manifest from a folder. Other migrations in the folder are left out.
 *
 * @throws {StateError} naming each file that is gone or whose SQL has changed; and as {@link readMigrations} does.
 */
export function readManifested(folder: string, manifest: Manifest): Migration[] {
  const found = new Map(readMigrations(folder).map((migration) => [migration.name, migration]));
  const remedy = "Run the command again; it begins with the files as they are then.";
  const problems = manifest.migrations.flatMap((name): Problem[] => {
    const subject = `${name}.up.sql`;
    const migration = found.get(name);
    if (!migration) return [{ subject, problem: "was there when this run began, and is gone now.", remedy }];
    if (migration.checksum === manifest.checksums[name]) return [];
    return [{ subject, problem: "its SQL has changed since this run began.", remedy }];
  });
  if (problems.length > 0) {
    throw new StateError(
      `The migrations in ${folder} are not those that this run began with; nothing was changed:`,
      problems,
    );
  }
  return manifest.migrations.flatMap((name) => found.get(name) ?? []);
}
