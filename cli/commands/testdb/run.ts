import { spawn } from "node:child_process";
import { constants } from "node:os";
import { defineCommand } from "citty";
import { listDatabases } from "../../../testing/databases/by-name.ts";
import { SERVER_VARIABLE } from "../../../testing/description/server.ts";
import { closeTestDatabases, testDatabase } from "../../../testing/databases/test-database.ts";
import { newRun, RUN_VARIABLE } from "../../../testing/databases/runs.ts";
import { leakReport } from "../../../testing/databases/runs.ts";
import { ToolError, UsageError } from "../../../base/errors.ts";
import { createOutput } from "../../../base/output.ts";
import { parseRole } from "../../connection-arguments.ts";
import {
  databaseArguments,
  engineArgument,
  ownerArgument,
  parseTestMode,
  phaseOf,
  serverArguments,
} from "./arguments.ts";
import { parseEngine, startServer } from "../../../testing/server/life-cycle.ts";

export default defineCommand({
  args: {
    name: serverArguments.name,
    ...databaseArguments,
    owner: ownerArgument,
    engine: engineArgument,
    "keep-on-failure": {
      type: "boolean",
      default: false,
      description: "Keep the database for half an hour when the command fails",
    },
  },
  async run({ args, rawArgs }) {
    const output = createOutput({ json: false });
    const dashes = rawArgs.indexOf("--");
    const [command, ...rest] = dashes < 0 ? [] : rawArgs.slice(dashes + 1);
    if (command === undefined)
      throw new UsageError("Which command?", [
        { subject: "run", problem: "takes it behind --", remedy: "aiwdb testdb run -- npx vitest run" },
      ]);
    const role = parseRole(args.role);
    const mode = parseTestMode(args.mode);
    const run = newRun();
    await startServer(args.name, output, { engine: parseEngine(args.engine, "--engine") });
    process.env[RUN_VARIABLE] = run;
    const database = await testDatabase({
      server: args.name,
      role,
      mode,
      phase: phaseOf(args.phase),
      seed: args.seed || undefined,
      owner: args.owner,
      label: [command, ...rest].join(" "),
    });
    try {
      const env = { ...process.env, ...database.env, [SERVER_VARIABLE]: args.name, [RUN_VARIABLE]: run };
      const code = await runCommand(command, rest, env);
      process.exitCode = code;
      if (code !== 0 && args["keep-on-failure"]) await database.keep(`\`${command}\` ended with ${code}`);
    } finally {
      await database.drop();
      for (const line of leakReport(await listDatabases(args.name), run)) output.warn(line);
      await closeTestDatabases();
    }
  },
});

function runCommand(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { stdio: "inherit", env });
    // The terminal sends an interrupt to both; the database is given back after the command has ended.
    const forward = (signal: NodeJS.Signals) => void child.kill(signal);
    process.on("SIGINT", () => {});
    process.on("SIGTERM", forward);
    child.on("error", (cause) =>
      reject(
        new ToolError(`${command} could not be started.`, [{ subject: command, problem: cause.message }], { cause }),
      ),
    );
    child.on("close", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}
