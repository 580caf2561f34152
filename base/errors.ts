/** One thing that is wrong and what to do about it. */
export interface Problem {
  /** The setting, file, host or object concerned, as the user knows it. */
  readonly subject: string;
  /** What is wrong with it and why that is refused, with the value unless it is secret. */
  readonly problem: string;
  /** What to do. */
  readonly remedy?: string;
}

/**
 * An error whose message is meant for the user. It says what happened, names every problem at once, and says what to
 * do.
 *
 * Any other error is a bug of this package and is shown with its stack.
 */
export class UserError extends Error {
  readonly problems: readonly Problem[];
  /** What the command found although it failed. With `--json` it is printed in one document with the error. */
  readonly result: object | undefined;
  /**
   * Exit code of the process: 0 nothing had to be done, 1 failed or found something, 2 wrong usage, 3 could not look.
   */
  readonly exitCode: 0 | 1 | 2 | 3 = 1;

  constructor(
    summary: string,
    problems: Problem | readonly Problem[] = [],
    { result, ...options }: ErrorOptions & { readonly result?: object | undefined } = {},
  ) {
    const all = [problems].flat();
    super([summary, ...all.map(formatProblem)].join("\n"), options);
    this.name = new.target.name;
    this.problems = all;
    this.result = result;
  }
}

/** Settings that can't be used. Nothing has been created or changed. */
export class ConfigError extends UserError {}

/** The stack, its state, the database or a file is not in the state the command needs. */
export class StateError extends UserError {}

/** A program or service the package relies on is missing, too old or failed. */
export class ToolError extends UserError {}

/** The command line was wrong. */
export class UsageError extends UserError {
  override readonly exitCode = 2;
}

/** The command could not look at what it was asked for, so that its answer is neither yes nor no. */
export class UnknownError extends UserError {
  override readonly exitCode = 3;
}

/** The user was asked and said no. The command ends, and has not failed. */
export class Declined extends UserError {
  override readonly exitCode = 0;

  constructor(summary = "Nothing has been changed.") {
    super(summary);
  }
}

function formatProblem({ subject, problem, remedy }: Problem): string {
  return `- ${subject}: ${problem}${remedy ? `\n  ${remedy}` : ""}`;
}

/** The message of anything thrown. Node leaves it empty where a host has several addresses and none of them answers. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}

/**
 * Whether an error has one of these codes, as those of the file system, of PostgreSQL and of the Docker Engine's client
 * do.
 */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes((error as { code?: string } | null | undefined)?.code ?? "");
}
