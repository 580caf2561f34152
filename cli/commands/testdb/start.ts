import { boundPort, serverFiles } from "../../../testing/description/files.ts";
import { parseEngine, startServer } from "../../../testing/server/life-cycle.ts";
import { UsageError } from "../../../base/errors.ts";
import { option } from "../../arguments.ts";
import { command } from "../../command.ts";
import { engineArgument, serverArguments } from "./arguments.ts";

export default command({
  args: {
    ...serverArguments,
    engine: engineArgument,
    port: { ...option("PORT", "Also serve the HTTP API on this loopback port; 0: a free one"), default: "" },
  },
  async run({ args, output }) {
    const engine = parseEngine(args.engine, "--engine");
    if (args.port !== "" && !(/^\d{1,5}$/.test(args.port) && Number(args.port) < 65_536))
      throw new UsageError(`--port ${args.port} is no port.`);
    const wantedPort = args.port === "" ? undefined : Number(args.port);
    const { server, created } = await startServer(args.name, output, { port: wantedPort, engine });
    const { name, direct, transaction } = server;
    const { socket, token } = serverFiles(name);
    const port = boundPort(name);
    const how = created ? "started" : "running";
    output.text(`server for tests ${name}: ${how} on ${direct.host}:${direct.port}`);
    const byPort = port === undefined ? "" : ` and http://127.0.0.1:${port}`;
    output.text(`HTTP API: ${socket}${byPort}, token in ${token}`);
    output.json({ name, created, direct, transaction, socket, port, token });
  },
});
