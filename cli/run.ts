import { Declined, hasCode, UserError } from "../base/errors.ts";
import { createOutput, NotWritten } from "../base/output.ts";
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
  for (const stream of [process.stdout, process.stderr]) stream.on("error", (error) => sayLost(stream, error));
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

/** Whether printed lines are lost. It is said once. */
let isLost = false;

/**
 * A reader of a pipe may end early, as `head` does: that is no error. A disk may be full: that is one, and what the
 * command does is still finished. Whoever else listens to the stream's errors, as `aiwdb dump` does, ends its own work
 * and says so.
 */
function sayLost(stream: NodeJS.WriteStream, error: Error): void {
  if (isLost || hasCode(error, "EPIPE") || stream.listenerCount("error") > 1) return;
  isLost = true;
  process.once("exit", () => void (process.exitCode ||= 1)); // whatever the command says of its own work
  if (stream === process.stdout) createOutput({ json: false }).error(new NotWritten(error));
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
