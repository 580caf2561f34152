import { existsSync } from "node:fs";
import { backupFolder } from "../../infra/settings/places.ts";
import { down } from "../../stack/down.ts";
import { stopPrivateEngine } from "../../toolchain/engine/private.ts";
import { flag, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { person } from "../person.ts";

export const examples = [
  "aiwdb down                          # dev, with its data",
  "aiwdb down --stack qa --delete-data # any other stack",
  "aiwdb down --stack ci-7 --take-over # made by a state that is lost",
  "aiwdb down --engine                 # also stop the engine that `up` started",
];

export default command({
  args: {
    ...stackArguments,
    "delete-data": flag("Also for a stack that is not disposable: its data volume goes too"),
    "take-over": flag("Also remove it where another state made it, because that state is lost"),
    engine: flag("Then stop the Docker Engine that `up` started; never one of the user's own"),
  },
  async run({ args, output }) {
    const { stack, engine } = args;
    const options = { stack, deleteData: args["delete-data"], takeOver: args["take-over"], endsEngine: engine };
    const removed = await down(options, person(output, args.json));
    if (removed !== undefined) {
      output.text(removed ? `stack ${stack}: removed` : `stack ${stack}: there was nothing to remove`);
      const backups = backupFolder(stack);
      if (existsSync(backups)) output.text(`its backups stay, with its data: ${backups}`);
    }
    const stopped = engine ? await stopPrivateEngine() : undefined;
    if (stopped !== undefined) output.text(`engine: stopped (${stopped})`);
    else if (engine) output.text("engine: none was started by this package; yours is left alone");
    output.json({ stack, removed: removed ?? false, engineStopped: stopped !== undefined });
  },
});
