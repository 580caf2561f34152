import type { ArgsDef, CommandDef } from "citty";
import { UsageError } from "../base/errors.ts";

/** A line of a table of commands: the help shows it without loading the command. */
export interface CommandEntry {
  readonly description: string;
  readonly load: () => Promise<CommandModule>;
}

export type CommandTable = Readonly<Record<string, CommandEntry>>;

/** A command's module. It has its sub-commands in a table where each has a module of its own, else in the command. */
export interface CommandModule {
  readonly default?: CommandDef<any>;
  readonly commands?: CommandTable;
  /** Shown below the help. */
  readonly examples?: readonly string[];
}

/** A command of a command line, with what is left of its arguments. */
export interface FoundCommand {
  readonly command: CommandDef<any>;
  readonly examples: readonly string[];
  /** `["migrate", "check"]`. */
  readonly path: readonly string[];
  readonly rest: readonly string[];
}

/** Names of a command's sub-commands. */
export function namesBelow({ subCommands }: CommandDef<any>): string[] {
  return Object.keys(subCommands ?? {});
}

/** The arguments that a command takes. */
export function argumentsOf({ args }: CommandDef<any>): ArgsDef {
  return (args ?? {}) as ArgsDef;
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
      throw new UsageError(`There is no command "${[...path, name].join(" ")}".`, [
        {
          subject: "commands",
          problem: names.join(", "),
          remedy: `See \`${["aiwdb", ...path].join(" ")} --help\`.`,
        },
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
