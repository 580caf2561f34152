import { defineCommand } from "citty";
import { createOutput } from "../../../base/output.ts";
import { serverArguments } from "./arguments.ts";
import { stopServer } from "../../../testing/server/life-cycle.ts";

export default defineCommand({
  args: serverArguments,
  async run({ args }) {
    const output = createOutput({ json: args.json });
    await stopServer(args.name, output);
    output.text(`server for tests ${args.name}: removed`);
    output.json({ name: args.name, removed: true });
  },
});
