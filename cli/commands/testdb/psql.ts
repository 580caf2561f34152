import { spawn } from "node:child_process";
import { defineCommand } from "citty";
import { addressOf } from "../../../testing/databases/by-name.ts";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { ToolError } from "../../../base/errors.ts";
import { parseRole } from "../../connection-arguments.ts";
import { databaseArguments, parseTestMode, serverArguments } from "./arguments.ts";

const { role, mode } = databaseArguments;

export default defineCommand({
  args: {
    name: serverArguments.name,
    role,
    mode,
    database: { type: "positional", required: true, description: "Its name" },
  },
  async run({ args, rawArgs }) {
    const { env } = await addressOf(args.name, args.database, parseRole(args.role), parseTestMode(args.mode)).finally(
      closeRegistries,
    );
    const dashes = rawArgs.indexOf("--");
    process.exitCode = await new Promise<number>((resolve, reject) => {
      const child = spawn("psql", dashes < 0 ? [] : rawArgs.slice(dashes + 1), {
        stdio: "inherit",
        env: { ...process.env, ...env },
      });
      child.on("error", (cause) =>
        reject(
          new ToolError(
            "psql could not be started.",
            [{ subject: "psql", problem: "is not on PATH", remedy: "Install PostgreSQL's client programs." }],
            { cause },
          ),
        ),
      );
      child.on("close", (code) => resolve(code === 0 ? 0 : 1));
    });
  },
});
