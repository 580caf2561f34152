import { Declined, UserError } from "../base/errors.ts";
import { createOutput } from "../base/output.ts";
import { type CommandModule, findCommand } from "./find-command.ts";
import { renderHelp } from "./help.ts";
import { parseArguments } from "./parse.ts";

/**
 * Runs the command that a command line names, and sets the exit code.
 *
 * @param name words by which a user calls the program, after `aiwdb`
 * @param passesOn commands that take arguments which they do not know, and pass them to another program
 */
export async function runProgram(
  program: CommandModule,
  name: readonly string[],
  argv: readonly string[],
  passesOn: readonly string[] = [],
): Promise<void> {
  // The reader of a pipe may end early, as `head` does. The command still finishes what it began, and prints no error.
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  try {
    await run(program, name, argv, passesOn);
  } catch (error) {
    const output = createOutput({ json: beforeDoubleDash(argv).includes("--json") });
    if (error instanceof Declined) {
      output.progress(error.message);
      output.json({ declined: true });
    } else {
      output.error(error);
    }
    process.exitCode = error instanceof UserError ? error.exitCode : 1;
  }
}

const HELP = new Set(["--help", "-h", "help"]);

async function run(
  program: CommandModule,
  name: readonly string[],
  argv: readonly string[],
  passesOn: readonly string[],
): Promise<void> {
  const isHelp = argv[0] === undefined || HELP.has(argv[0]);
  const found = await findCommand(program, isHelp ? [] : argv);
  const { command, path, rest } = found;
  const asksForHelp = beforeDoubleDash(rest).some((arg) => arg === "--help" || arg === "-h");
  if (isHelp || asksForHelp || !command.run) {
    process.stdout.write(`${await renderHelp(found, name)}\n`);
    return;
  }
  const args = parseArguments(command, [...name, ...path].join(" "), rest, passesOn.includes(path.join(" ")));
  await command.run({ rawArgs: [...rest], args, cmd: command });
}

function beforeDoubleDash(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end < 0 ? args : args.slice(0, end);
}
