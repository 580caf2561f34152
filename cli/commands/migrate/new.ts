import { relative } from "node:path";
import { writeNewMigration } from "../../../migrate/chain/new.ts";
import { parsePhase, PHASE_NAMES, PHASES } from "../../../migrate/chain/phases.ts";
import { option, optionError } from "../../arguments.ts";
import { command } from "../../command.ts";
import { migrationArguments, migrationsFolder } from "./arguments.ts";

const PHASE_LIST = PHASES.map((phase) => `${phase} ${PHASE_NAMES[phase]}`).join(", ");

export default command({
  args: {
    name: { type: "positional", required: true, description: "Verb and object: create_invoices", valueHint: "NAME" },
    phase: { ...option("N", `Rollout phase: ${PHASE_LIST}`), required: true },
    ...migrationArguments,
  },
  run({ args, output }) {
    const phase = parsePhase(args.phase);
    if (phase === undefined) {
      const problem = `${JSON.stringify(args.phase)} is none of ${PHASE_LIST}.`;
      throw optionError("There is no such phase:", "--phase", problem);
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
