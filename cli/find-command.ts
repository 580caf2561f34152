import type { ArgsDef, CommandDef } from "citty";
import { UsageError } from "../base/errors.ts";

/** A command's module; `examples` follow its help. */
export interface CommandModule {
  readonly default: CommandDef<any>;
  readonly examples?: readonly string[];
  /** Modules of its sub-commands, where each has one of its own. */
  readonly modules?: Readonly<Record<string, () => Promise<CommandModule>>>;
}

/** What an option, a list of sub-commands or a command may be: a value, or a function that gives it. */
async function resolve(value: unknown): Promise<any> {
  return typeof value === "function" ? (value as () => unknown)() : value;
}

/** A command of a command line, with what is left of its arguments. */
export interface FoundCommand {
  readonly module: CommandModule;
  /** `["migrate", "check"]`. */
  readonly path: readonly string[];
  readonly rest: readonly string[];
  readonly args: ArgsDef;
}

/**
 * The command of a program that the first words of a command line name.
 *
 * @throws UsageError if there is none
 */
export async function findCommand(program: CommandModule, argv: readonly string[]): Promise<FoundCommand> {
  let module = program;
  let rest = argv;
  const path: string[] = [];
  for (;;) {
    const below = (await resolve(module.default.subCommands)) as Record<string, unknown> | undefined;
    const next = rest[0];
    if (!below || next === undefined || next.startsWith("-")) break;
    const found = below[next];
    if (!found) {
      throw new UsageError(`There is no command "${[...path, next].join(" ")}".`, [
        {
          subject: "commands",
          problem: Object.keys(below).join(", "),
          remedy: `See \`${["aiwdb", ...path].join(" ")} --help\`.`,
        },
      ]);
    }
    // Examples are a whole module's: those of `migrate` stand for `migrate check` too.
    const load = module.modules?.[next];
    module = load ? await load() : { ...module, default: (await resolve(found)) as CommandDef<any> };
    path.push(next);
    rest = rest.slice(1);
  }
  return { module, path, rest, args: ((await resolve(module.default.args)) ?? {}) as ArgsDef };
}
