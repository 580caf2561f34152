import { listDatabases } from "../../../testing/databases/by-name.ts";
import { leakReport, newRun, RUN_VARIABLE } from "../../../testing/databases/runs.ts";
import { closeTestDatabases, testDatabase } from "../../../testing/databases/test-database.ts";
import { SERVER_VARIABLE } from "../../../testing/description/server.ts";
import { parseEngine, startServer } from "../../../testing/server/life-cycle.ts";
import { UsageError } from "../../../base/errors.ts";
import { flag } from "../../arguments.ts";
import { runInTerminal } from "../../child.ts";
import { behindDashes, command } from "../../command.ts";
import { databaseArguments, databaseOptions, engineArgument, ownerArgument, serverArguments } from "./arguments.ts";

export default command({
  args: {
    name: serverArguments.name,
    ...databaseArguments,
    owner: ownerArgument,
    engine: engineArgument,
    "keep-on-failure": flag("Keep the database for half an hour when the command fails"),
  },
  async run({ args, rawArgs, output }) {
    const [program, ...rest] = behindDashes(rawArgs) ?? [];
    if (program === undefined)
      throw new UsageError("Which command?", [
        { subject: "run", problem: "takes it behind --", remedy: "aiwdb testdb run -- npx vitest run" },
      ]);
    const options = databaseOptions(args);
    const run = newRun();
    await startServer(args.name, output, { engine: parseEngine(args.engine, "--engine") });
    process.env[RUN_VARIABLE] = run;
    const database = await testDatabase({ ...options, server: args.name, label: [program, ...rest].join(" ") });
    try {
      const env = { ...process.env, ...database.env, [SERVER_VARIABLE]: args.name, [RUN_VARIABLE]: run };
      const code = await runInTerminal(program, rest, env);
      process.exitCode = code;
      if (code !== 0 && args["keep-on-failure"]) await database.keep(`\`${program}\` ended with ${code}`);
    } finally {
      await database.drop();
      for (const line of leakReport(await listDatabases(args.name), run)) output.warn(line);
      await closeTestDatabases();
    }
  },
});
