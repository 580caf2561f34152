import { createHeld } from "../../../testing/databases/by-name.ts";
import { RUN_VARIABLE } from "../../../testing/databases/runs.ts";
import { option, optionError } from "../../arguments.ts";
import { command } from "../../command.ts";
import { databaseArguments, databaseOptions, ownerArgument, serverArguments, withRegistries } from "./arguments.ts";

/** How long a database is held that goes with no process. */
const DEFAULT_TTL_SEC = 3_600;

export default command({
  args: {
    ...serverArguments,
    ...databaseArguments,
    owner: ownerArgument,
    label: { ...option("TEXT", "Who has it, for `list`"), default: "" },
    ttl: { ...option("SECONDS", "Seconds after which it is dropped; 3600 unless --pid is given"), default: "" },
    pid: { ...option("PID", "Process with which it goes, e.g. $$"), default: "" },
  },
  async run({ args, output }) {
    const pid = args.pid === "" ? undefined : pidOf(args.pid);
    const ttlSec = args.ttl === "" ? (pid === undefined ? DEFAULT_TTL_SEC : undefined) : secondsOf(args.ttl);
    const held = { label: args.label, run: process.env[RUN_VARIABLE] ?? "", ttlSec, pid };
    const database = await withRegistries(() => createHeld(args.name, { ...databaseOptions(args), ...held }));
    output.text(database.url);
    output.json(database);
  },
});

/** @throws UsageError when a process cannot have this number */
function pidOf(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw optionError(`--pid ${text} is no process.`, "--pid", "must be a process' number");
}

function secondsOf(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw optionError(`--ttl ${text} is no time.`, "--ttl", "must be a whole number of seconds above 0");
}
