import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { StateError, UsageError } from "../../base/errors.ts";
import { formatNumber, isMigrationName, readMigrations } from "./files.ts";
import { type Phase, PHASE_NAMES } from "./phases.ts";

/**
 * Writes the next migration's pair of files, with headers to fill in.
 *
 * `migrate check` refuses the headers as long as they are empty.
 *
 * @returns the paths written.
 * @throws {UsageError} if the name can't be one.
 * @throws {StateError} if the name is taken, or the last migration is already of a later phase.
 */
export function writeNewMigration(options: { folder: string; name: string; phase: Phase }): {
  up: string;
  down: string;
} {
  const { folder, name, phase } = options;
  if (!isMigrationName(name)) {
    throw new UsageError("The migration can't be named so:", [
      {
        subject: JSON.stringify(name),
        problem:
          "a name is a verb and an object, lower-case words and digits joined by underscores; the number is added.",
        remedy: "For example: create_invoices, add_users_locale.",
      },
    ]);
  }
  const migrations = readMigrations(folder);
  const taken = migrations.find((migration) => migration.name.replace(/^\d+_/, "") === name);
  if (taken) {
    throw new StateError("The migration can't be written:", [
      { subject: name, problem: `there is ${taken.name} already.`, remedy: "Choose a name that tells the two apart." },
    ]);
  }
  const last = migrations.at(-1);
  if (last && last.phase > phase) {
    throw new StateError("The migration can't be written:", [
      {
        subject: `phase ${phase}`,
        problem: `the last migration, ${last.name}, is of phase ${last.phase} (${PHASE_NAMES[last.phase]}), and phases never go back.`,
        remedy: `Use --phase ${last.phase} or later.`,
      },
    ]);
  }
  const full = `${formatNumber((last?.number ?? 0) + 1)}_${name}`;
  const up = join(folder, `${full}.up.sql`);
  const down = join(folder, `${full}.down.sql`);
  // wx refuses a file that exists: another process may write the same number now.
  writeFileSync(up, `-- Phase: ${phase}\n-- Why:\n-- Lock:\n\n`, { flag: "wx" });
  writeFileSync(down, `-- Phase: ${phase}\n-- Why: takes back ${full}.\n-- Lock:\n\n`, { flag: "wx" });
  return { up, down };
}
