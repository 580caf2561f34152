import { spawn } from "node:child_process";
import { defineCommand } from "citty";
import { ToolError } from "../../base/errors.ts";
import { createOutput } from "../../base/output.ts";
import { connectionArguments, requestedConnection } from "../connection-arguments.ts";
import { libpqEnvironment } from "../../database/libpq.ts";

export const examples = ["aiwdb psql", "aiwdb psql --role app_readonly -- -c 'select count(*) from users'"];

export default defineCommand({
  args: connectionArguments,
  async run({ args, rawArgs }) {
    const output = createOutput({ json: false });
    const { DATABASE_URL: _, ...variables } = libpqEnvironment(await requestedConnection(args, output));
    const dashes = rawArgs.indexOf("--");
    const own = dashes < 0 ? [] : rawArgs.slice(dashes + 1);
    process.exitCode = await new Promise<number>((resolve, reject) => {
      const child = spawn("psql", own, { stdio: "inherit", env: { ...process.env, ...variables } });
      child.on("error", (cause) =>
        reject(
          new ToolError(
            "psql could not be started.",
            [
              {
                subject: "psql",
                problem: "is not on PATH",
                remedy: "Install PostgreSQL's client programs, or use `aiwdb url` with another client.",
              },
            ],
            { cause },
          ),
        ),
      );
      child.on("close", (code) => resolve(code === 0 ? 0 : 1));
    });
  },
});
