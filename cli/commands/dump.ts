import { StateError, UsageError } from "../../base/errors.ts";
import { bytesOutput } from "../../base/output.ts";
import { pgDumpArguments } from "../../database/backup/arguments.ts";
import { sizeText } from "../../database/backup/dump.ts";
import { dumpStack } from "../../stack/dump.ts";
import { flag, oneOf, option, stackArguments } from "../arguments.ts";
import { behindDashes, command } from "../command.ts";

export const examples = [
  "aiwdb dump --stack prod --output prod.dump      # an archive for pg_restore",
  "aiwdb dump --stack prod | age -r age1… > prod.dump.age",
  "aiwdb dump --schema-only --format plain | less",
  "aiwdb dump --output users.dump -- --table public.users --no-owner",
];

export default command({
  args: {
    ...stackArguments,
    output: { ...option("FILE", "Into this file, for this user only. Default: to stdout"), alias: "o" },
    overwrite: flag("Replace the file if it is there"),
    format: {
      ...option("FORMAT", "custom: a compressed archive for pg_restore; plain: SQL for psql"),
      default: "custom",
    },
    "schema-only": flag("No rows"),
    "data-only": flag("Only the rows, and the positions of sequences"),
  },
  async run({ args, rawArgs, output }) {
    const format = oneOf("format", args.format, ["custom", "plain"] as const);
    const only = (["schema-only", "data-only"] as const).filter((name) => args[name]).map((name) => `--${name}`);
    const more = pgDumpArguments([...only, ...(behindDashes(rawArgs) ?? [])]);
    if (args.output === undefined) refuseStdout(args.json);
    const signal = whenTold();
    const how = { stack: args.stack, format, args: more, signal, overwrite: args.overwrite };
    const { warnings, ...dumped } = await dumpStack({ ...how, to: args.output ?? bytesOutput() }, output.progress);
    for (const warning of warnings) output.warn(warning);
    if (args.output === undefined) return;
    output.text(`${args.output}: ${dumped.database}, ${sizeText(dumped.bytes)}, ${format}`);
    output.json({ file: args.output, format, ...dumped, warnings });
  },
});

/** Rows may have characters that a terminal obeys, and an archive is made of such. */
function refuseStdout(json: boolean): void {
  const refuse = (problem: string) =>
    new UsageError("Where to?", [
      { subject: "stdout", problem, remedy: "Give --output FILE, or send it on: `> FILE`, `| less`." },
    ]);
  if (json) throw refuse("has either the dump or the JSON");
  if (process.stdout.isTTY) throw refuse("is a terminal, which would obey some of the bytes");
}

/** Aborted when this process is told to end. */
function whenTold(): AbortSignal {
  const told = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () =>
      told.abort(new StateError(`The dump was stopped by ${signal}; no part of a file is left.`)),
    );
  return told.signal;
}
