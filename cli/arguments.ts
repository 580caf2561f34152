import type { ArgsDef } from "citty";
import { UsageError } from "../base/errors.ts";

/** An option without a value. It is off unless it is given. */
export const flag = (description: string) => ({ type: "boolean", default: false, description }) as const;

/** An option with a value. The help shows `valueHint` in its place. */
export const option = (valueHint: string, description: string) => ({ type: "string", description, valueHint }) as const;

/** Arguments of every command that has a result. */
export const jsonArgument = { json: flag("Print the result as JSON on stdout") } as const satisfies ArgsDef;

/** Arguments of every command on a stack. */
export const stackArguments = {
  stack: { ...option("NAME", "Stack: dev, prod, or one of your own"), alias: "s", default: "dev" },
  ...jsonArgument,
} as const satisfies ArgsDef;

/** The error for one option whose value cannot be used. */
export function optionError(summary: string, subject: string, problem: string): UsageError {
  return new UsageError(summary, [{ subject, problem }]);
}

/**
 * Reads an option that takes one of a few words.
 *
 * @param name of the option, without dashes
 * @throws UsageError that lists the words
 */
export function oneOf<T extends string>(
  name: string,
  text: string,
  words: readonly T[],
  problem = `must be one of ${words.join(", ")}`,
  subject = `--${name}`,
): T {
  const word = words.find((each) => each === text);
  if (word === undefined) throw optionError(`There is no ${name} "${text}".`, subject, problem);
  return word;
}

/** @throws UsageError when the value of an option is no UUID */
export function requireUuid(summary: string, subject: string, text: string): void {
  const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
  if (!isUuid) throw optionError(summary, subject, `${JSON.stringify(text)} is no UUID`);
}
