import { defineCommand } from "citty";
import { diagnose, type Part } from "../../toolchain/diagnosis.ts";
import type { Engine } from "../../toolchain/engine/find.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { ToolError, UserError, type Problem } from "../../base/errors.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput } from "../../base/output.ts";
import { obstacles } from "../../stack/engine-objects.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { checkStackConfig } from "../../stack/settings-file.ts";

/** What is in the way of the stack: its settings, and names and ports that something else holds. */
async function stackProblems(stack: string, engine: Engine | undefined): Promise<readonly Problem[]> {
  try {
    const { config, problems } = checkStackConfig(stack);
    return [...problems, ...(engine === undefined ? [] : await obstacles(engineClient(engine), config))];
  } catch (error) {
    // One more finding; the tools are shown all the same.
    if (error instanceof UserError && error.problems.length > 0) return error.problems;
    throw error;
  }
}

function table(parts: readonly Part[]): string[] {
  const rows = parts.map(({ part, version, way, where }) => [part, version, way, where]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

export default defineCommand({
  args: stackArguments,
  async run({ args }) {
    const output = createOutput({ json: args.json });
    requireStack(args.stack, { orNew: true });
    const { engine, parts, problems } = await diagnose();
    // Several looks may have met the same thing, such as an engine that hangs.
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
