import { runCommand, type ArgsDef } from "citty";
import { Declined, UsageError, UserError } from "../base/errors.ts";
import { createOutput } from "../base/output.ts";
import { type CommandModule, findCommand } from "./find-command.ts";
import { renderHelp } from "./help.ts";

/**
 * Runs the command that a command line names, and sets the exit code.
 *
 * @param name words that the program is called by, behind `aiwdb`
 * @param passesOn commands that take arguments they do not know, for somebody else
 */
export async function runProgram(
  program: CommandModule,
  name: readonly string[],
  argv: readonly string[],
  passesOn: readonly string[] = [],
): Promise<void> {
  // Whoever read it has gone, as `head` does. What was begun is finished all the same, and nobody is told.
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  try {
    await run(program, name, argv, passesOn);
  } catch (error) {
    // citty's own errors are about the command line.
    const shown = (error as Error).name === "CLIError" ? new UsageError((error as Error).message) : error;
    const output = createOutput({ json: beforeDoubleDash(argv).includes("--json") });
    if (shown instanceof Declined) {
      output.progress(shown.message);
      output.json({ declined: true });
    } else {
      output.error(shown);
    }
    process.exitCode = shown instanceof UserError ? shown.exitCode : 1;
  }
}

const HELP = new Set(["--help", "-h", "help"]);

async function run(
  program: CommandModule,
  name: readonly string[],
  argv: readonly string[],
  passesOn: readonly string[],
): Promise<void> {
  if (argv[0] === undefined || HELP.has(argv[0])) return print(await renderHelp(program, name));
  const { module, path: words, rest, args } = await findCommand(program, argv);
  const path = [...name, ...words];
  const own = beforeDoubleDash(rest);
  const asksForHelp = own.some((arg) => arg === "--help" || arg === "-h");
  if (asksForHelp || !module.default.run) return print(await renderHelp(module, path));
  if (!passesOn.includes(words.join(" "))) refuseUnknown(own, args, path.join(" "));
  await runCommand(module.default, { rawArgs: [...rest] });
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function beforeDoubleDash(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end < 0 ? args : args.slice(0, end);
}

/** A misspelt option must not be passed over in silence. */
function refuseUnknown(args: readonly string[], definition: ArgsDef, command: string): void {
  const refuse = (summary: string) =>
    new UsageError(summary, [{ subject: "usage", problem: `see \`aiwdb ${command} --help\`` }]);
  const types = new Map<string, string>();
  for (const [name, spec] of Object.entries(definition)) {
    const aliases = "alias" in spec && spec.alias ? [spec.alias].flat() : [];
    for (const spelling of [name, ...aliases]) types.set(spelling, spec.type ?? "boolean");
  }
  const positionals = [...types.values()].filter((type) => type === "positional").length;
  let words = 0;
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] as string;
    if (!arg.startsWith("-")) {
      words += 1;
      if (words > positionals) throw refuse(`\`aiwdb ${command}\` does not take "${arg}".`);
      continue;
    }
    const [option = ""] = arg.replace(/^--?/, "").split("=");
    const type = types.get(option) ?? (option.startsWith("no-") ? types.get(option.slice("no-".length)) : undefined);
    if (type === undefined) throw refuse(`\`aiwdb ${command}\` has no option ${arg.split("=")[0]}.`);
    if (type === "boolean" || arg.includes("=")) continue;
    at += 1;
    if (args[at] === undefined) throw refuse(`${arg} needs a value.`);
  }
}
