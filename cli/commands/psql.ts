import { libpqEnvironment } from "../../database/libpq.ts";
import { runPsql } from "../child.ts";
import { behindDashes, command } from "../command.ts";
import { connectionArguments, requestedConnection } from "../connection-arguments.ts";

export const examples = [
  "aiwdb psql",
  "aiwdb psql --mode console -- -c 'show pools'",
  "aiwdb psql --role app_readonly -- -c 'select count(*) from users'",
];

export default command({
  args: connectionArguments,
  async run({ args, rawArgs, output }) {
    const { DATABASE_URL: _, ...variables } = libpqEnvironment(await requestedConnection(args, output));
    await runPsql(
      behindDashes(rawArgs) ?? [],
      // What a session shall begin with is the caller's to say; left out, a time-out would not be in force.
      { ...variables, PGOPTIONS: process.env["PGOPTIONS"] },
      "Install PostgreSQL's client programs, or use `aiwdb url` with another client.",
    );
  },
});
