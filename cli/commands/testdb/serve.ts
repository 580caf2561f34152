import { serve } from "../../../testing/server/daemon.ts";
import { startKeeper, superviseKeeper } from "../../../testing/server/keeper-process.ts";
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
      const others = rawArgs.filter((arg) => arg !== "--supervise");
      return superviseKeeper(name, others, stopping.signal, report);
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
