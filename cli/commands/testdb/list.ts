import { defineCommand } from "citty";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { listDatabases } from "../../../testing/databases/by-name.ts";
import { createOutput } from "../../../base/output.ts";
import { serverArguments } from "./arguments.ts";

export default defineCommand({
  args: serverArguments,
  async run({ args }) {
    const output = createOutput({ json: args.json });
    try {
      const databases = await listDatabases(args.name);
      const ready = databases.filter(({ state }) => state === "ready").length;
      for (const { name, state, holder, label, ageSec, expiresInSec, sessions } of databases.filter(
        (database) => database.state !== "ready",
      )) {
        const parts = [
          name,
          state.padEnd(8),
          `${ageSec} s`,
          `${sessions} session${sessions === 1 ? "" : "s"}`,
          holder,
          label,
          expiresInSec === null ? "" : `${expiresInSec} s left`,
        ];
        output.text(parts.filter((part) => part !== "").join("  "));
      }
      output.text(`${ready} ready`);
      output.json(databases);
    } finally {
      await closeRegistries();
    }
  },
});
