import type { CommandDef } from "citty";
import { UsageError } from "../base/errors.ts";

/** Commands by name. The help shows a description without loading the command. */
export type CommandTable = Readonly<
  Record<string, { readonly description: string; readonly load: () => Promise<CommandModule> }>
>;

/** A command's module. Sub-commands with modules of their own are in a table, other ones are in the command. */
export interface CommandModule {
  readonly default?: CommandDef<any>;
  readonly commands?: CommandTable;
  /** Command lines that the help ends with. */
  readonly examples?: readonly string[];
}

/** A command that a command line names. */
export interface FoundCommand {
  readonly command: CommandDef<any>;
  readonly examples: readonly string[];
  /** The words that name it, such as `["migrate", "check"]`. */
  readonly path: readonly string[];
  /** What stands behind them on the command line. */
  readonly rest: readonly string[];
}

/** Names of a command's sub-commands. */
export function namesBelow({ subCommands }: CommandDef<any>): string[] {
  return Object.keys(subCommands ?? {});
}

/** A module's command, whose help has a line for each command of the table. */
function commandOf({ default: own, commands = {} }: CommandModule): CommandDef<any> {
  const fromTable = Object.entries(commands).map(([name, { description }]) => [name, { meta: { name, description } }]);
  return fromTable.length === 0 ? (own ?? {}) : { ...own, subCommands: Object.fromEntries(fromTable) };
}

/**
 * The command of a program that the first words of a command line name.
 *
 * @throws UsageError if there is none
 */
export async function findCommand(program: CommandModule, argv: readonly string[]): Promise<FoundCommand> {
  let command = commandOf(program);
  let { commands, examples = [] } = program;
  let rest = argv;
  const path: string[] = [];
  for (;;) {
    const names = namesBelow(command);
    const name = rest[0];
    if (names.length === 0 || name === undefined || name.startsWith("-")) return { command, examples, path, rest };
    if (!names.includes(name)) {
      const remedy = `See \`${["aiwdb", ...path].join(" ")} --help\`.`;
      throw new UsageError(`There is no command "${[...path, name].join(" ")}".`, [
        { subject: "commands", problem: names.join(", "), remedy },
      ]);
    }
    const entry = commands?.[name];
    const module = await entry?.load();
    command =
      entry && module
        ? { ...commandOf(module), meta: { name, description: entry.description } }
        : (command.subCommands as Record<string, CommandDef<any>>)[name]!;
    commands = module?.commands;
    // Examples of a command stand for its sub-commands too.
    examples = module?.examples ?? (path.length === 0 ? [] : examples);
    path.push(name);
    rest = rest.slice(1);
  }
}
