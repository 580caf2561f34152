import { type Problem, StateError } from "../base/errors.ts";

/** The error of a command that stops before it changes anything. */
export function refusal(summary: string, ...problems: Problem[]): StateError {
  return new StateError(`${summary}; nothing has been changed:`, problems);
}

/** The refusal where another command is at work on the stack. */
export function inUse(stack: string, problem: string, remedy: string): StateError {
  return refusal(`Stack "${stack}" is in use`, { subject: "lock", problem, remedy });
}
