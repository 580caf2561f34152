import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { defineCommand } from "citty";
import { serve } from "../../../testing/server/daemon.ts";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { serverFiles } from "../../../testing/description/files.ts";
import { UsageError } from "../../../base/errors.ts";
import { createOutput } from "../../../base/output.ts";
import { serverArguments } from "./arguments.ts";
import { recordKeeper, startKeeper } from "../../../testing/server/keeper-process.ts";

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
      recordKeeper(args.name);
      await supervise(
        args.name,
        rawArgs.filter((arg) => arg !== "--supervise"),
        stopping.signal,
        output.progress,
      );
      return;
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

/** Ends when the child ended well: it was told to, or its server is gone. */
async function supervise(
  name: string,
  args: readonly string[],
  signal: AbortSignal,
  report: (line: string) => void,
): Promise<void> {
  while (!signal.aborted) {
    const child = spawn(process.execPath, [process.argv[1] as string, "testdb", "serve", ...args], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const stop = () => void child.kill("SIGTERM");
    signal.addEventListener("abort", stop, { once: true });
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    signal.removeEventListener("abort", stop);
    // Stopped and forgotten meanwhile: there is nothing to keep.
    if (code === 0 || !existsSync(serverFiles(name).description)) return;
    report(`${new Date().toISOString()} the pool's keeper died; starting it again`);
    await wait(200);
  }
}
