import { addressOf } from "../../../testing/databases/by-name.ts";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { runInTerminal } from "../../child.ts";
import { behindDashes, command } from "../../command.ts";
import { databaseArguments, roleAndMode, serverArguments } from "./arguments.ts";

const { role, mode } = databaseArguments;

export default command({
  args: {
    name: serverArguments.name,
    role,
    mode,
    database: { type: "positional", required: true, description: "Its name" },
  },
  async run({ args, rawArgs }) {
    const wanted = roleAndMode(args);
    const { env } = await addressOf(args.name, args.database, wanted.role, wanted.mode).finally(closeRegistries);
    const code = await runInTerminal(
      "psql",
      behindDashes(rawArgs) ?? [],
      { ...process.env, ...env },
      {
        subject: "psql",
        problem: "is not on PATH",
        remedy: "Install PostgreSQL's client programs.",
      },
    );
    process.exitCode = code === 0 ? 0 : 1;
  },
});
