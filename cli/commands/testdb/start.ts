import { defineCommand } from "citty";
import { boundPort } from "../../../testing/description/files.ts";
import { serverFiles } from "../../../testing/description/files.ts";
import { UsageError } from "../../../base/errors.ts";
import { createOutput } from "../../../base/output.ts";
import { engineArgument, serverArguments } from "./arguments.ts";
import { parseEngine, startServer } from "../../../testing/server/life-cycle.ts";

export default defineCommand({
  args: {
    ...serverArguments,
    engine: engineArgument,
    port: {
      type: "string",
      default: "",
      description: "Also serve the HTTP API on this loopback port; 0: a free one",
      valueHint: "PORT",
    },
  },
  async run({ args }) {
    const engine = parseEngine(args.engine, "--engine");
    const output = createOutput({ json: args.json });
    if (args.port !== "" && !(/^\d{1,5}$/.test(args.port) && Number(args.port) < 65_536))
      throw new UsageError(`--port ${args.port} is no port.`);
    const { server, created } = await startServer(args.name, output, {
      port: args.port === "" ? undefined : Number(args.port),
      engine,
    });
    const files = serverFiles(server.name);
    output.text(
      `server for tests ${server.name}: ${created ? "started" : "running"} on ${server.direct.host}:${server.direct.port}`,
    );
    const port = boundPort(server.name);
    output.text(
      `HTTP API: ${files.socket}${port === undefined ? "" : ` and http://127.0.0.1:${port}`}, token in ${files.token}`,
    );
    output.json({
      name: server.name,
      created,
      direct: server.direct,
      transaction: server.transaction,
      socket: files.socket,
      port,
      token: files.token,
    });
  },
});
