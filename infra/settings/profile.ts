/** What a stack is for. */
export const Profile = {
  /** Keeps data. */
  standard: "standard",
  /** A server for tests: data in memory, no durability, clones of a template beside the database. */
  ci: "ci",
} as const;
export type Profile = (typeof Profile)[keyof typeof Profile];

/**
 * Defaults of a server for tests. Its data counts against the memory limit: a database of the whole schema takes about
 * 15 MiB. Test suites open many connections at once.
 */
export const CI_DEFAULTS: Readonly<Record<string, number>> = {
  postgresMemoryMiB: 6_144,
  postgresCpus: 2,
  postgresMaxConnections: 500,
  pgbouncerMaxClientConn: 2_000,
  pgbouncerMemoryMiB: 256,
  stopTimeoutSec: 10,
};

/** Stacks that are made to be thrown away, by their names. */
export const EPHEMERAL_LIFE_HOURS: Readonly<Record<string, number>> = { ci: 24, pr: 168 };

/** `ci` or `pr` for a stack that expires by its name, else undefined. */
export function ephemeralKind(stack: string): string | undefined {
  return /^(ci|pr)-/.exec(stack)?.[1];
}

/** A stack's profile: what its file says, else by its name. */
export function profileOf(stack: string, given: unknown): unknown {
  return given ?? (ephemeralKind(stack) === "ci" ? "ci" : "standard");
}
