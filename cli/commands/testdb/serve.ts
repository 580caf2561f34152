import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { serve } from "../../../testing/server/daemon.ts";
import { recordKeeper, startKeeper } from "../../../testing/server/keeper-process.ts";
import { serverFiles } from "../../../testing/description/files.ts";
import { UsageError } from "../../../base/errors.ts";
import type { Report } from "../../../base/progress.ts";
import { flag, option } from "../../arguments.ts";
import { command } from "../../command.ts";
import { serverArguments, withRegistries } from "./arguments.ts";

export default command({
  args: {
    ...serverArguments,
    port: { ...option("PORT", "Also on this loopback port; 0: a free one"), default: "" },
    max: { ...option("COUNT", "Most ready databases per template"), default: "" },
    supervise: flag("Start it again whenever it dies"),
  },
  async run({ args, rawArgs, output }) {
    const { name } = args;
    const port = numberOf("--port", args.port);
    const max = numberOf("--max", args.max);
    const report: Report = (line) => output.progress(`${new Date().toISOString()} ${line}`);
    const stopping = new AbortController();
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopping.abort());
    if (args.supervise) {
      recordKeeper(name);
      const own = rawArgs.filter((arg) => arg !== "--supervise");
      return supervise(name, own, stopping.signal, report);
    }
    if (process.send) {
      // The process that would restart this one was killed. Another takes its place.
      process.once("disconnect", () => {
        if (!stopping.signal.aborted) startKeeper(name, port);
        stopping.abort();
      });
    }
    await withRegistries(() => serve({ name, port, max, report, signal: stopping.signal }));
    // At once: a seed that does not end would keep this process alive, and `stop` would wait for it.
    process.exit();
  },
});

function numberOf(subject: string, text: string): number | undefined {
  if (text !== "" && !/^\d{1,5}$/.test(text)) throw new UsageError(`${subject} ${text} is no number.`);
  return text === "" ? undefined : Number(text);
}

/** Returns when the child ended well: somebody told it to end, or its server is gone. */
async function supervise(name: string, args: readonly string[], signal: AbortSignal, report: Report): Promise<void> {
  while (!signal.aborted) {
    const child = spawn(process.execPath, [process.argv[1] as string, "testdb", "serve", ...args], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const stop = () => void child.kill("SIGTERM");
    signal.addEventListener("abort", stop, { once: true });
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    signal.removeEventListener("abort", stop);
    // The server was stopped and forgotten meanwhile, so that there is nothing to keep.
    if (code === 0 || !existsSync(serverFiles(name).description)) return;
    report("the pool's keeper died; starting it again");
    await wait(200);
  }
}
