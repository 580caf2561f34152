import { stopServer } from "../../../testing/server/life-cycle.ts";
import { command } from "../../command.ts";
import { serverArguments } from "./arguments.ts";

export default command({
  args: serverArguments,
  async run({ args, output }) {
    await stopServer(args.name, output);
    output.text(`server for tests ${args.name}: removed`);
    output.json({ name: args.name, removed: true });
  },
});
