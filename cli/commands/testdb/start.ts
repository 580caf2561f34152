import { defineCommand } from "citty";
import { serverFiles } from "../../../testing/server.ts";
import { UsageError } from "../../../toolchain/errors.ts";
import { createOutput } from "../../output.ts";
import { serverArguments } from "./arguments.ts";
import { startServer } from "./server-process.ts";

export default defineCommand({
  meta: {
    name: "start",
    description: "Start a server for tests, build its template and fill its pool; does nothing where one runs",
  },
  args: {
    ...serverArguments,
    engine: {
      type: "string",
      default: "",
      description:
        "container: a stack like any other; local: PostgreSQL as a process of this machine, no pooler. Default: container",
      valueHint: "ENGINE",
    },
    port: {
      type: "string",
      default: "",
      description: "Also serve the HTTP API on this loopback port; 0: a free one",
      valueHint: "PORT",
    },
  },
  async run({ args }) {
    if (args.engine !== "" && args.engine !== "container" && args.engine !== "local") {
      throw new UsageError(`There is no engine "${args.engine}".`, [
        { subject: "--engine", problem: "must be container or local" },
      ]);
    }
    const output = createOutput({ json: args.json });
    if (args.port !== "" && !/^\d{1,5}$/.test(args.port)) throw new UsageError(`--port ${args.port} is no port.`);
    const { server, created } = await startServer(args.name, output, {
      port: args.port === "" ? undefined : Number(args.port),
      engine: args.engine === "" ? undefined : args.engine,
    });
    const files = serverFiles(server.name);
    output.text(
      `server for tests ${server.name}: ${created ? "started" : "running"} on ${server.direct.host}:${server.direct.port}`,
    );
    output.text(`HTTP API: ${files.socket}, token in ${files.token}`);
    output.json({
      name: server.name,
      created,
      direct: server.direct,
      transaction: server.transaction,
      socket: files.socket,
      token: files.token,
    });
  },
});
