import { messageOf, type Problem, ToolError, UnknownError } from "../../base/errors.ts";
import type { Output } from "../../base/output.ts";
import { ephemeralStacks, expired, removeExpired } from "../../testing/server/expired.ts";
import { flag, jsonArgument, option } from "../arguments.ts";
import { command } from "../command.ts";

export const examples = [
  "aiwdb reap --dry-run",
  "aiwdb reap   # from cron or at the start of a CI job",
  "aiwdb reap --take-over # on an engine whose runners come and go with their state",
];

const drop = () => {};
/** Drops what each removal prints. This command itself names each stack. */
const unheard: Output = {
  progress: drop,
  text: drop,
  json: drop,
  jsonText: drop,
  lines: async () => {},
  warn: drop,
  error: drop,
};

/** The last five lines of an error: they say what went wrong. */
const lastLines = (error: unknown): string => messageOf(error).split("\n").slice(-5).join("\n");

export default command({
  args: {
    stack: { ...option("STACK", "Only this one, if it is past its expiry"), default: "" },
    "take-over": flag("Also those that another state made, as of machines that are gone"),
    "dry-run": flag("Only say which"),
    ...jsonArgument,
  },
  async run({ args, output }) {
    const unknown: Problem[] = [];
    const all = await ephemeralStacks((problem) => unknown.push(problem));
    const due = expired(all, new Date()).filter(({ stack }) => args.stack === "" || stack === args.stack);
    const problems: Problem[] = [];
    const removed: string[] = [];
    // A signal ends Pulumi in order, and with it the removal that is at work. The command then begins no other one.
    let isStopped = false;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => (isStopped = true));
    for (const { stack, expiresAt } of due) {
      if (args["dry-run"]) {
        output.text(`${stack}: expired ${expiresAt.toISOString()}`);
        continue;
      }
      if (isStopped) {
        problems.push({ subject: stack, problem: "left alone, as this command was stopped" });
        continue;
      }
      // The removals before may have taken minutes, in which somebody may have made this stack anew.
      const still = expired(await ephemeralStacks(drop), new Date()).filter((each) => each.stack === stack);
      if (still.length === 0) continue;
      output.text(`${stack}: expired ${expiresAt.toISOString()}, removing`);
      const failure = await removeExpired(stack, still, args["take-over"], unheard).then(() => undefined, lastLines);
      if (failure === undefined) removed.push(stack);
      else problems.push({ subject: stack, problem: failure });
    }
    if (due.length === 0)
      output.text(`nothing to remove; ${all.length} stack${all.length === 1 ? "" : "s"} may expire later`);
    const result = { removed, due, all, unknown };
    if (problems.length > 0)
      throw new ToolError("Some stacks could not be removed:", [...problems, ...unknown], { result });
    if (unknown.length > 0)
      throw new UnknownError("Not every stack could be looked at; the rest was done:", unknown, { result });
    output.json(result);
  },
});
