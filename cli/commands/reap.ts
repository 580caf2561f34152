import { defineCommand } from "citty";
import { messageOf, type Problem, ToolError, UnknownError } from "../../base/errors.ts";
import { createOutput, type Output } from "../../base/output.ts";
import { ephemeralStacks, expired, removeExpired } from "../../testing/server/expired.ts";

export const examples = [
  "aiwdb reap --dry-run",
  "aiwdb reap   # from cron or at the start of a CI job",
  "aiwdb reap --take-over # on an engine whose runners come and go with their state",
];

/** What each removal says is left out; the stacks are told one by one. */
const silent = () => {};
const unheard: Output = {
  progress: silent,
  text: silent,
  json: silent,
  jsonText: silent,
  warn: silent,
  error: silent,
};

/** As much of an error as tells what went wrong. */
const lastLines = (error: unknown): string => messageOf(error).split("\n").slice(-5).join("\n");

export default defineCommand({
  args: {
    stack: { type: "string", default: "", description: "Only this one, if it is past its expiry", valueHint: "STACK" },
    "take-over": {
      type: "boolean",
      default: false,
      description: "Also those that another state made, as of machines that are gone",
    },
    "dry-run": { type: "boolean", default: false, description: "Only say which" },
    json: { type: "boolean", default: false, description: "Print the result as JSON on stdout" },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const unknown: Problem[] = [];
    const all = await ephemeralStacks((problem) => unknown.push(problem));
    const due = expired(all, new Date()).filter(({ stack }) => args.stack === "" || stack === args.stack);
    const problems: Problem[] = [];
    const removed: string[] = [];
    // Pulumi ends in order when it is told to, and so does the removal at work; no other is begun.
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
      // Others may have been removed for minutes meanwhile, and this one made anew.
      const still = expired(await ephemeralStacks(() => {}), new Date()).filter((each) => each.stack === stack);
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
