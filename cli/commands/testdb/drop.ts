import { dropByName, listDatabases } from "../../../testing/databases/by-name.ts";
import { StateError } from "../../../base/errors.ts";
import { flag, optionError } from "../../arguments.ts";
import { command } from "../../command.ts";
import { serverArguments, withRegistries } from "./arguments.ts";

export default command({
  args: {
    ...serverArguments,
    database: { type: "positional", required: false, description: "Its name" },
    kept: flag("All that failed tests left"),
  },
  async run({ args, output }) {
    const { name: server, database, kept } = args;
    if ((database === undefined) === !kept)
      throw optionError("Which one?", "drop", "takes the name of one database, or --kept");
    await withRegistries(async () => {
      const names = database === undefined ? await keptOn(server) : [database];
      for (const name of names) {
        if (!(await dropByName(server, name)) && !kept) {
          throw new StateError(`There is no test database ${name} to drop.`, [
            {
              subject: server,
              problem: "nobody holds or keeps one of that name",
              remedy: `See \`npx aiwdb testdb list --name ${server}\`.`,
            },
          ]);
        }
        output.text(`${name}: dropped`);
      }
      if (names.length === 0) output.text("no database is kept");
      output.json({ dropped: names });
    });
  },
});

async function keptOn(server: string): Promise<string[]> {
  return (await listDatabases(server)).filter(({ state }) => state === "kept").map(({ name }) => name);
}
