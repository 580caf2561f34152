import { defineCommand } from "citty";
import { closeHolders, createHeld } from "../../../testing/holders.ts";
import { RUN_VARIABLE } from "../../../testing/test-database.ts";
import { createOutput } from "../../output.ts";
import { parseRole } from "../../stack/connect.ts";
import { databaseArguments, parseTestMode, phaseOf, secondsOf, serverArguments } from "./arguments.ts";

export default defineCommand({
  meta: {
    name: "create",
    description: "Take a test database and print its URL; it goes when its time is over or its process ends",
  },
  args: {
    ...serverArguments,
    ...databaseArguments,
    label: { type: "string", default: "", description: "Who has it, for `list`", valueHint: "TEXT" },
    ttl: { type: "string", default: "3600", description: "Seconds after which it is dropped", valueHint: "SECONDS" },
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
        label: args.label,
        run: process.env[RUN_VARIABLE] ?? "",
        ttlSec: secondsOf("--ttl", args.ttl),
        pid: args.pid === "" ? undefined : secondsOf("--pid", args.pid),
      });
      output.text(database.url);
      output.json(database);
    } finally {
      await closeHolders();
    }
  },
});
