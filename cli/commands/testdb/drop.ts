import { defineCommand } from "citty";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { dropByName, listDatabases } from "../../../testing/databases/by-name.ts";
import { StateError, UsageError } from "../../../base/errors.ts";
import { createOutput } from "../../../base/output.ts";
import { serverArguments } from "./arguments.ts";

export default defineCommand({
  args: {
    ...serverArguments,
    database: { type: "positional", required: false, description: "Its name" },
    kept: { type: "boolean", default: false, description: "All that failed tests left" },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    if ((args.database === undefined) === !args.kept) {
      throw new UsageError("Which one?", [{ subject: "drop", problem: "takes the name of one database, or --kept" }]);
    }
    try {
      const kept = async () =>
        (await listDatabases(args.name)).filter(({ state }) => state === "kept").map(({ name }) => name);
      const names = args.database === undefined ? await kept() : [args.database];
      for (const name of names) {
        if (!(await dropByName(args.name, name)) && !args.kept) {
          throw new StateError(`There is no test database ${name} to drop.`, [
            {
              subject: args.name,
              problem: "nobody holds or keeps one of that name",
              remedy: `See \`npx aiwdb testdb list --name ${args.name}\`.`,
            },
          ]);
        }
        output.text(`${name}: dropped`);
      }
      if (names.length === 0) output.text("no database is kept");
      output.json({ dropped: names });
    } finally {
      await closeRegistries();
    }
  },
});
