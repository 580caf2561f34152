import { addressOf } from "../../../testing/databases/by-name.ts";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { runPsql } from "../../child.ts";
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
    await runPsql(behindDashes(rawArgs) ?? [], env, "Install PostgreSQL's client programs.");
  },
});
