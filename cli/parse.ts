import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import type { ArgDef, ArgsDef, CommandDef, ParsedArgs } from "citty";
import { UsageError } from "../base/errors.ts";

/**
 * Reads the arguments of a command line by the command's definition of them. citty's own parser ignores a misspelt
 * option, and has no setting that refuses it.
 *
 * @param name the command as a user types it, for messages
 * @param passesOn whether the command takes arguments that it does not know, and passes them to another program
 * @throws UsageError for an option or a word that the command does not know, and for one that is missing
 */
export function parseArguments(
  command: CommandDef<any>,
  name: string,
  argv: readonly string[],
  passesOn: boolean,
): ParsedArgs<any> {
  const definitions = Object.entries((command.args ?? {}) as ArgsDef);
  const words = definitions.filter(([, { type }]) => type === "positional");
  const options: ParseArgsOptionsConfig = Object.fromEntries(
    definitions.filter((each) => !words.includes(each)).map(([option, definition]) => [option, optionOf(definition)]),
  );
  const { values, positionals, tokens } = parseArgs({
    args: [...argv],
    options,
    allowPositionals: true,
    allowNegative: true,
    strict: false,
    tokens: true,
  });
  if (!passesOn) {
    const refuse = (summary: string) =>
      new UsageError(summary, [{ subject: "usage", problem: `see \`aiwdb ${name} --help\`` }]);
    const end = tokens.find(({ kind }) => kind === "option-terminator")?.index ?? argv.length;
    let left = words.length;
    for (const token of tokens.filter(({ index }) => index < end)) {
      if (token.kind === "positional" && --left < 0) throw refuse(`\`aiwdb ${name}\` does not take "${token.value}".`);
      if (token.kind !== "option") continue;
      const option = options[token.name];
      if (option === undefined) throw refuse(`\`aiwdb ${name}\` has no option ${token.rawName}.`);
      if (option.type === "string" && token.value === undefined) throw refuse(`${token.rawName} needs a value.`);
      if (option.type === "boolean" && token.value !== undefined) values[token.name] = token.value !== "false";
    }
  }
  for (const [at, [word, { default: fallback }]] of words.entries()) values[word] = positionals[at] ?? fallback;
  for (const [each, { type, required }] of definitions) {
    if (values[each] !== undefined) continue;
    if (type === "positional" && required !== false)
      throw new UsageError(`Missing required positional argument: ${each.toUpperCase()}`);
    if (required) throw new UsageError(`Missing required argument: --${each}`);
  }
  return { _: positionals, ...values } as ParsedArgs<any>;
}

function optionOf({ type, default: fallback, ...definition }: ArgDef): ParseArgsOptionsConfig[string] {
  return {
    type: type === "string" ? "string" : "boolean",
    ...("alias" in definition && typeof definition.alias === "string" ? { short: definition.alias } : {}),
    ...(fallback === undefined ? {} : { default: fallback as string | boolean }),
  };
}
