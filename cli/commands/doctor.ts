import { diagnose, type Part } from "../../toolchain/diagnosis.ts";
import type { Engine } from "../../toolchain/engine/find.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { ToolError, UserError, type Problem } from "../../base/errors.ts";
import { stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { obstacles } from "../../stack/engine-objects.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { checkStackConfig } from "../../stack/settings-file.ts";

/** What is in the way of the stack: its settings, and names and ports that something else holds. */
async function stackProblems(stack: string, engine: Engine | undefined): Promise<readonly Problem[]> {
  try {
    const { config, problems } = checkStackConfig(stack);
    return [...problems, ...(engine === undefined ? [] : await obstacles(engineClient(engine), config))];
  } catch (error) {
    // It is one more finding. The command shows the tools all the same.
    if (error instanceof UserError && error.problems.length > 0) return error.problems;
    throw error;
  }
}

function table(parts: readonly Part[]): string[] {
  const width = (column: "part" | "version" | "way") => Math.max(...parts.map((row) => row[column].length));
  const [ofPart, ofVersion, ofWay] = [width("part"), width("version"), width("way")];
  return parts.map(({ part, version, way, where }) =>
    [part.padEnd(ofPart), version.padEnd(ofVersion), way.padEnd(ofWay), where].join("  ").trimEnd(),
  );
}

export default command({
  args: stackArguments,
  async run({ args, output }) {
    requireStack(args.stack, { orNew: true });
    const { engine, parts, problems } = await diagnose();
    // Several looks may have found the same thing, such as an engine that hangs.
    const found = [...problems, ...(await stackProblems(args.stack, engine))];
    const all = [...new Map(found.map((each) => [`${each.subject}: ${each.problem}`, each])).values()];
    for (const line of table(parts)) output.text(line);
    const result = { parts, problems: all };
    if (all.length > 0)
      throw new ToolError(`${all.length === 1 ? "1 problem" : `${all.length} problems`} found:`, all, { result });
    output.text("No problems found.");
    output.json(result);
  },
});

export const examples = ["aiwdb doctor", "aiwdb doctor --stack prod --json"];
