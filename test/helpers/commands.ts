import { type ArgsDef, type CommandDef, runCommand } from "citty";
import { afterEach, beforeEach, expect, vi } from "vitest";
import { StateError } from "../../base/errors.ts";

/** What the test wrote to standard output so far. */
export let printed = "";

export function forgetPrinted(): void {
  printed = "";
}

/** Keeps what each test of a file prints; what goes to standard error is thrown away. */
export function takeOutput(): void {
  beforeEach(() => {
    printed = "";
    vi.spyOn(process.stdout, "write").mockImplementation((text) => {
      printed += String(text);
      return true;
    });
    vi.spyOn(process.stderr, "write").mockReturnValue(true);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
}

export function run<T extends ArgsDef>(command: CommandDef<T>, ...rawArgs: string[]): Promise<unknown> {
  return runCommand(command, { rawArgs });
}

export async function failureOf(work: Promise<unknown>): Promise<StateError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StateError);
  return error as StateError;
}
