import { relative } from "node:path";
import { defineCommand } from "citty";
import { writeNewMigration } from "../../../migrate/chain/new.ts";
import { parsePhase, PHASE_NAMES, PHASES } from "../../../migrate/chain/phases.ts";
import { UsageError } from "../../../base/errors.ts";
import { createOutput } from "../../../base/output.ts";
import { migrationArguments, migrationsFolder } from "./arguments.ts";

const PHASE_LIST = PHASES.map((phase) => `${phase} ${PHASE_NAMES[phase]}`).join(", ");

export default defineCommand({
  args: {
    name: { type: "positional", required: true, description: "Verb and object: create_invoices", valueHint: "NAME" },
    phase: { type: "string", required: true, description: `Rollout phase: ${PHASE_LIST}`, valueHint: "N" },
    ...migrationArguments,
  },
  run({ args }) {
    const output = createOutput({ json: args.json });
    const phase = parsePhase(args.phase);
    if (phase === undefined) {
      throw new UsageError("There is no such phase:", [
        { subject: "--phase", problem: `${JSON.stringify(args.phase)} is none of ${PHASE_LIST}.` },
      ]);
    }
    const paths = writeNewMigration({ folder: migrationsFolder(args), name: args.name, phase });
    output.json(paths);
    output.text(relative("", paths.up));
    output.text(relative("", paths.down));
    output.progress(
      "fill in Why and Lock (and Data loss, in the down file, if there is any); then `aiwdb migrate check`",
    );
  },
});
