import { existsSync } from "node:fs";
import { defineCommand } from "citty";
import { createOutput } from "../../base/output.ts";
import { backupFolder } from "../../infra/settings/places.ts";
import { down } from "../../stack/down.ts";
import { stopPrivateEngine } from "../../toolchain/engine/private.ts";
import { stackArguments } from "../arguments.ts";
import { person } from "../person.ts";

export const examples = [
  "aiwdb down                          # dev, with its data",
  "aiwdb down --stack qa --delete-data # any other stack",
  "aiwdb down --stack ci-7 --take-over # made by a state that is lost",
  "aiwdb down --engine                 # also stop the engine that `up` started",
];

export default defineCommand({
  args: {
    ...stackArguments,
    "delete-data": {
      type: "boolean",
      default: false,
      description: "Also for a stack that is not disposable: its data volume goes too",
    },
    "take-over": {
      type: "boolean",
      default: false,
      description: "Also remove it where another state made it, because that state is lost",
    },
    engine: {
      type: "boolean",
      default: false,
      description: "Then stop the Docker Engine that `up` started; never one of the user's own",
    },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const { stack, engine } = args;
    const removed = await down(
      { stack, deleteData: args["delete-data"], takeOver: args["take-over"], endsEngine: engine },
      person(output, args.json),
    );
    if (removed !== undefined) {
      output.text(removed ? `stack ${stack}: removed` : `stack ${stack}: there was nothing to remove`);
      const backups = backupFolder(stack);
      if (existsSync(backups)) output.text(`its backups stay, with its data: ${backups}`);
    }
    const engineStopped = engine && (await stopEngine(output));
    output.json({ stack, removed: removed ?? false, engineStopped });
  },
});

async function stopEngine(output: { text(line: string): void }): Promise<boolean> {
  const stopped = await stopPrivateEngine();
  output.text(
    stopped === undefined
      ? "engine: none was started by this package; yours is left alone"
      : `engine: stopped (${stopped})`,
  );
  return stopped !== undefined;
}
