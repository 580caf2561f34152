import type { Output } from "../base/output.ts";
import type { RunResult, Session } from "./pulumi-run.ts";

/** Who brings a stack up or removes it: a person at a command line, or a program that asks nobody. */
export interface Caller extends Pick<Output, "progress" | "warn"> {
  /**
   * Asks a yes-or-no question.
   *
   * @returns whether the answer is yes; false where nobody can be asked
   * @throws Declined when somebody says no
   */
  ask(question: string): Promise<boolean>;
  /** Whether Pulumi can ask the user as well. */
  readonly isAtTerminal: boolean;
  /**
   * Runs Pulumi, with its display where the caller wants it.
   *
   * @param unsaid paragraphs to leave out, because we do what they advise
   */
  pulumi(session: Session, args: readonly string[], unsaid?: RegExp): Promise<RunResult>;
}
