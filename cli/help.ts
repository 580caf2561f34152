import { defineCommand, renderUsage } from "citty";
import type { FoundCommand } from "./find-command.ts";

/**
 * A command's help without colours: usage, options, examples.
 *
 * @param name words by which a user calls the program, after `aiwdb`
 */
export async function renderHelp(
  { command, examples, path: words }: Omit<FoundCommand, "rest">,
  name: readonly string[] = [],
): Promise<string> {
  const path = [...name, ...words];
  const parent =
    path.length === 0 ? undefined : defineCommand({ meta: { name: ["aiwdb", ...path.slice(0, -1)].join(" ") } });
  const plain = (await renderUsage(command, parent)).replaceAll(/\u001B\[[0-9;]*m/g, "");
  const usage = plain.replaceAll(/ \(Default: (?:false)?\)/g, ""); // of a flag, or none: says nothing
  const own = examples.filter((example) => path.length < 2 || example.includes(path.join(" ")));
  const shown = own.length > 0 ? ["", "EXAMPLES", "", ...own.map((example) => `  ${example}`)] : [];
  return [usage.trimEnd(), ...shown].join("\n").replaceAll(/[ \t]+$/gm, "");
}
