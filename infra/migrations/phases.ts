import type { Migration } from "./files.ts";

/** A rollout phase of the schema. */
export type Phase = 1 | 2 | 3 | 4;

/** What each rollout phase is called. */
export const PHASE_NAMES: Readonly<Record<Phase, string>> = {
  1: "foundation",
  2: "authentication",
  3: "application",
  4: "optimization",
};

/** All rollout phases, in order. */
export const PHASES: readonly Phase[] = [1, 2, 3, 4];

/** Reads a phase as it is written in a header or on a command line; undefined if it is none. */
export function parsePhase(text: string | undefined): Phase | undefined {
  return PHASES.find((phase) => String(phase) === text?.trim());
}

/** The migrations that bring a database to a phase and no further. */
export function upToPhase(migrations: readonly Migration[], phase: Phase): Migration[] {
  return migrations.filter((migration) => migration.phase <= phase);
}
