/** What a stack is for. */
export const Profile = {
  /** Keeps data. */
  standard: "standard",
  /** A server for tests. Its data is in memory, a crash loses it, and test databases are copied from a template. */
  ci: "ci",
} as const;
export type Profile = (typeof Profile)[keyof typeof Profile];

/**
 * Defaults that the profile ci has instead of those in the table. A server for tests has its data in memory, which
 * counts against the memory limit: a database of the whole schema takes about 15 MiB. Test suites open many connections
 * at once.
 */
export const CI_DEFAULTS: Readonly<Record<string, number>> = {
  postgresMemoryMiB: 6_144,
  postgresCpus: 2,
  postgresMaxConnections: 500,
  pgbouncerMaxClientConn: 2_000,
  pgbouncerMemoryMiB: 256,
  stopTimeoutSec: 10,
};

/** Hours after which a stack that is made to be thrown away expires by default, by the prefix of its name. */
export const EPHEMERAL_LIFE_HOURS: Readonly<Record<string, number>> = { ci: 24, pr: 168 };

/** The prefix of a stack that is made to be thrown away: `ci` or `pr`. Undefined for any other stack. */
export function ephemeralKind(stack: string): string | undefined {
  return /^(ci|pr)-/.exec(stack)?.[1];
}

/**
 * A stack's profile. Where the settings do not give one, it follows from the stack's name.
 *
 * @param given the setting as it is, checked or not; it is returned unchanged
 */
export function profileOf(stack: string, given: unknown): unknown {
  return given ?? (ephemeralKind(stack) === "ci" ? "ci" : "standard");
}
