import { defineCommand } from "citty";
import { createOutput } from "../output.ts";
import { connectionArguments, requestedConnection } from "../stack/connect.ts";
import { libpqEnvironment } from "../stack/libpq.ts";

export const examples = ['eval "$(aiwdb env)" && psql', "aiwdb env --role app_readonly --json"];

export default defineCommand({
  meta: { name: "env", description: "Print shell exports of the PG* variables and DATABASE_URL" },
  args: connectionArguments,
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const variables = libpqEnvironment(await requestedConnection(args, output));
    for (const [name, value] of Object.entries(variables))
      output.text(`export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`);
    output.json(variables);
  },
});
