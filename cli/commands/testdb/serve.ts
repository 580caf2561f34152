import { defineCommand } from "citty";
import { serve } from "../../../testing/server/daemon.ts";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { UsageError } from "../../../base/errors.ts";
import { createOutput } from "../../../base/output.ts";
import { serverArguments } from "./arguments.ts";
import { startKeeper, superviseKeeper } from "../../../testing/server/keeper-process.ts";

export default defineCommand({
  args: {
    ...serverArguments,
    port: { type: "string", default: "", description: "Also on this loopback port; 0: a free one", valueHint: "PORT" },
    max: { type: "string", default: "", description: "Most ready databases per template", valueHint: "COUNT" },
    supervise: { type: "boolean", default: false, description: "Start it again whenever it dies" },
  },
  async run({ args, rawArgs }) {
    const output = createOutput({ json: args.json });
    for (const [option, text] of [
      ["--port", args.port],
      ["--max", args.max],
    ] as const) {
      if (text !== "" && !/^\d{1,5}$/.test(text)) throw new UsageError(`${option} ${text} is no number.`);
    }
    const stopping = new AbortController();
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopping.abort());
    if (args.supervise) {
      const others = rawArgs.filter((arg) => arg !== "--supervise");
      return superviseKeeper(args.name, others, stopping.signal, output.progress);
    }
    const port = args.port === "" ? undefined : Number(args.port);
    if (process.send) {
      // The one that would restart this process was killed: another takes its place.
      process.once("disconnect", () => {
        if (!stopping.signal.aborted) startKeeper(args.name, port);
        stopping.abort();
      });
    }
    await serve({
      name: args.name,
      port,
      max: args.max === "" ? undefined : Number(args.max),
      report: (line) => output.progress(`${new Date().toISOString()} ${line}`),
      signal: stopping.signal,
    });
    await closeRegistries();
    // At once: a seed that does not end would keep this process, and with it whoever stops the server.
    process.exit();
  },
});
