import { randomBytes } from "node:crypto";
import type { ListedDatabase } from "./by-name.ts";

/**
 * Variable with the name of one run of a suite. Databases that the run takes carry the name, for its leak report.
 * `aiwdb testdb run` and vitest's global set-up set it.
 */
export const RUN_VARIABLE = "AIWDB_TESTDB_RUN";

/** A new name for one run of a suite: 12 hexadecimal digits. */
export function newRun(): string {
  return randomBytes(6).toString("hex");
}

/**
 * Lines that name the databases which a run took and did not give back. Kept databases are not among them.
 *
 * @returns no line if there are none
 */
export function leakReport(databases: readonly ListedDatabase[], run: string): string[] {
  const left = databases.filter(
    (database) => database.run === run && database.state === "taken" && database.name !== process.env["PGDATABASE"],
  );
  if (left.length === 0) return [];
  return [
    `${left.length} test database${left.length === 1 ? " was" : "s were"} not given back, and will be dropped with the process that holds ${left.length === 1 ? "it" : "them"}:`,
    ...left.map(
      ({ name, holder, label, sessions }) =>
        `  ${[name, holder, label, `${sessions} session${sessions === 1 ? "" : "s"}`].filter((part) => part !== "").join(", ")}`,
    ),
  ];
}
