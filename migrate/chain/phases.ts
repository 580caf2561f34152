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
export function upToPhase<M extends { readonly phase: Phase }>(migrations: readonly M[], phase: Phase): M[] {
  return migrations.filter((migration) => migration.phase <= phase);
}

/**
 * Describes each phase in one line: what is applied, what is pending, or that the stack does not ask for it.
 *
 * @param wanted names of the migrations that a stack asks for.
 * @param applied names of the migrations that its database has.
 */
export function describePhases(
  migrations: readonly { readonly name: string; readonly phase: Phase }[],
  wanted: ReadonlySet<string>,
  applied: ReadonlySet<string>,
): string[] {
  return PHASES.flatMap((phase) => {
    const own = migrations.filter((migration) => migration.phase === phase).map(({ name }) => name);
    const pending = own.filter((name) => wanted.has(name) && !applied.has(name));
    const label = `phase ${phase} ${PHASE_NAMES[phase]}`;
    if (pending.length > 0) return [`${label}: ${pending.length} pending: ${pending.join(", ")}`];
    const done = own.filter((name) => applied.has(name)).length;
    if (done > 0) return [`${label}: all ${done} applied`];
    return own.length > 0 ? [`${label}: not asked for by rolloutPhase, ${own.length} left out`] : [];
  });
}
