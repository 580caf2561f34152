import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { Declined } from "../base/errors.ts";
import type { Output } from "../base/output.ts";
import type { Caller } from "../stack/caller.ts";
import { display } from "../stack/pulumi-run.ts";

/** The person at the command line. They see what Pulumi does, and commands may ask them. */
export function person({ progress, warn }: Output, json: boolean): Caller {
  return {
    progress,
    warn,
    ask: confirm,
    isAtTerminal: process.stdin.isTTY && process.stdout.isTTY,
    pulumi: (session, args, unsaid) => display(session, args, json, unsaid),
  };
}

/**
 * Asks a yes-or-no question on the terminal.
 *
 * @returns whether the answer is yes; false without a terminal, as nobody can be asked
 * @throws Declined when somebody says no
 */
async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const closed = once(prompt, "close").then(() => ""); // the terminal went away: nobody said yes
    const answer = await Promise.race([prompt.question(`${question} [y/N] `), closed]);
    if (!/^y(es)?$/i.test(answer.trim())) throw new Declined();
    return true;
  } finally {
    prompt.close();
  }
}
