import { type ArgsDef, type CommandContext, type CommandDef, type CommandMeta, defineCommand } from "citty";
import { createOutput, type Output } from "../base/output.ts";

/** What a command's work gets. */
interface Call<T extends ArgsDef> extends Pick<CommandContext<T>, "args" | "rawArgs"> {
  /** Prints JSON where the command has `--json` and it was given. */
  readonly output: Output;
}

/** Makes a command of its arguments and its work. */
export function command<const T extends ArgsDef>(definition: {
  readonly meta?: CommandMeta;
  readonly args: T;
  readonly run: (call: Call<T>) => unknown;
}): CommandDef<T> {
  return defineCommand({
    ...definition,
    run: ({ args, rawArgs }) =>
      definition.run({ args, rawArgs, output: createOutput({ json: args["json"] === true }) }),
  });
}

/** What stands behind `--` on a command line; undefined where there is no `--`. */
export function behindDashes(rawArgs: readonly string[]): string[] | undefined {
  const dashes = rawArgs.indexOf("--");
  return dashes < 0 ? undefined : rawArgs.slice(dashes + 1);
}
