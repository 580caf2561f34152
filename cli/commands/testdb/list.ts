import { listDatabases } from "../../../testing/databases/by-name.ts";
import { command } from "../../command.ts";
import { serverArguments, withRegistries } from "./arguments.ts";

export default command({
  args: serverArguments,
  async run({ args, output }) {
    const databases = await withRegistries(() => listDatabases(args.name));
    const inUse = databases.filter(({ state }) => state !== "ready");
    for (const { name, state, holder, label, ageSec, expiresInSec, sessions } of inUse) {
      const sessionCount = `${sessions} session${sessions === 1 ? "" : "s"}`;
      const timeLeft = expiresInSec === null ? "" : `${expiresInSec} s left`;
      const parts = [name, state.padEnd(8), `${ageSec} s`, sessionCount, holder, label, timeLeft];
      output.text(parts.filter((part) => part !== "").join("  "));
    }
    output.text(`${databases.length - inUse.length} ready`);
    output.json(databases);
  },
});
