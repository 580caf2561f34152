import { randomBytes } from "node:crypto";
import type { ListedDatabase } from "./by-name.ts";

/** Groups what one run of a suite takes, for its leak report. Set by `aiwdb testdb run` and the global set-up. */
export const RUN_VARIABLE = "AIWDB_TESTDB_RUN";

/** A name for one run of a suite. */
export function newRun(): string {
  return randomBytes(6).toString("hex");
}

/** What a run took and did not give back; kept databases are meant to stay. */
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
