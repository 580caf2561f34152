import { defineCommand } from "citty";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { createHeld } from "../../../testing/databases/by-name.ts";
import { RUN_VARIABLE } from "../../../testing/databases/runs.ts";
import { createOutput } from "../../../base/output.ts";
import { parseRole } from "../../connection-arguments.ts";
import {
  databaseArguments,
  ownerArgument,
  parseTestMode,
  phaseOf,
  pidOf,
  secondsOf,
  serverArguments,
} from "./arguments.ts";

/** For one that no process answers for. */
const DEFAULT_TTL_SEC = 3_600;

export default defineCommand({
  args: {
    ...serverArguments,
    ...databaseArguments,
    owner: ownerArgument,
    label: { type: "string", default: "", description: "Who has it, for `list`", valueHint: "TEXT" },
    ttl: {
      type: "string",
      default: "",
      description: "Seconds after which it is dropped; 3600 unless --pid is given",
      valueHint: "SECONDS",
    },
    pid: { type: "string", default: "", description: "Process with which it goes, e.g. $$", valueHint: "PID" },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const role = parseRole(args.role);
    const mode = parseTestMode(args.mode);
    try {
      const database = await createHeld(args.name, {
        role,
        mode,
        phase: phaseOf(args.phase),
        seed: args.seed || undefined,
        owner: args.owner,
        label: args.label,
        run: process.env[RUN_VARIABLE] ?? "",
        ttlSec: args.ttl === "" ? (args.pid === "" ? DEFAULT_TTL_SEC : undefined) : secondsOf("--ttl", args.ttl),
        pid: args.pid === "" ? undefined : pidOf(args.pid),
      });
      output.text(database.url);
      output.json(database);
    } finally {
      await closeRegistries();
    }
  },
});
