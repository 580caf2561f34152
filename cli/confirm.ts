import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { Declined } from "../base/errors.ts";

/**
 * Asks a yes-or-no question on the terminal.
 *
 * @returns whether the answer is yes; false without a terminal, as nobody can be asked
 * @throws Declined when somebody says no
 */
export async function confirm(question: string): Promise<boolean> {
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
