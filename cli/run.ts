import { Declined, UserError } from "../base/errors.ts";
import { createOutput } from "../base/output.ts";
import { type CommandModule, findCommand } from "./find-command.ts";
import { renderHelp } from "./help.ts";
import { parseArguments } from "./parse.ts";

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
  if (isHelp || asksForHelp || !command.run) return print(await renderHelp(found, name));
  const words = path.join(" ");
  const args = parseArguments(command, [...name, ...path].join(" "), rest, passesOn.includes(words));
  await command.run({ rawArgs: [...rest], args, cmd: command });
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function beforeDoubleDash(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end < 0 ? args : args.slice(0, end);
}
