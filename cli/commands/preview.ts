import { engineClient } from "../../toolchain/engine/client.ts";
import { ToolError } from "../../base/errors.ts";
import { PROGRAM_VARIABLES } from "../../infra/settings/program-variables.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { flag, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { readStateFile } from "../../stack/backend.ts";
import { findRepairs } from "../../stack/repairs.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { capture, display, type Session } from "../../stack/pulumi-run.ts";
import {
  effectiveSettings,
  ensureStack,
  explain,
  openSession,
  openTemporarySession,
  readState,
} from "../../stack/session.ts";
import { checkAgreement, readStackConfig } from "../../stack/settings-file.ts";

export const examples = ["aiwdb preview", "aiwdb preview --stack prod", "aiwdb preview --expect-no-changes   # in CI"];

export default command({
  args: {
    ...stackArguments,
    "expect-no-changes": flag("Fail if anything would change"),
  },
  async run({ args, output }) {
    const { stack } = args;
    requireStack(stack, { orNew: true });
    const config = readStackConfig(stack);
    checkAgreement(config);
    const state = readStateFile(stack); // one that cannot be read is named before anything else
    const toolchain = await setUp({ report: output.progress, images: false });
    const flags = [
      "--diff",
      ...(args["expect-no-changes"] ? ["--expect-no-changes"] : []),
      ...(args.json ? ["--json"] : []),
    ];
    const show = async (opened: Session) => {
      // `checkAgreement` has compared it.
      const session = { ...opened, env: { ...opened.env, [PROGRAM_VARIABLES.comparedStack]: stack } };
      await ensureStack(session);
      const settings = ["--config-file", effectiveSettings(session)];
      const preview = ["preview", ...session.stackArguments, ...settings, ...flags];
      const looking = findRepairs(engineClient(toolchain.engine), config, session);
      looking.catch(() => {}); // thrown below, once Pulumi has ended
      const result = await (args.json ? capture(session, preview) : display(session, preview, false));
      const repairs = await looking;
      for (const line of repairs) output.warn(line);
      const parsed = args.json ? parsePlan(result.stdout) : undefined;
      const plan = parsed && { ...parsed, repairs };
      if (result.exitCode !== 0) {
        const problem = args.json ? `\n${result.stderr.trim()}` : "";
        throw (
          explain(session, result.stderr) ??
          new ToolError(`The preview of stack "${stack}" failed.${problem}`, [], { result: plan })
        );
      }
      if (args["expect-no-changes"] && repairs.length > 0)
        throw new ToolError(
          `\`up\` would mend stack "${stack}":`,
          repairs.map((problem) => ({ subject: "engine", problem })),
          { result: plan },
        );
      output.json(plan);
    };
    const isThere =
      state.kind === "elsewhere"
        ? (await readState(openSession(stack, toolchain))).kind !== "none"
        : state.kind !== "none";
    if (!isThere) {
      output.warn(`stack ${stack} does not exist yet: this is what a first \`up\` would create`);
      const session = openTemporarySession(stack, toolchain);
      try {
        await show(session);
      } finally {
        session.remove();
      }
    } else {
      await show(openSession(stack, toolchain));
    }
  },
});

/** What Pulumi printed as JSON; undefined where it failed before it had a plan. */
function parsePlan(text: string): object | undefined {
  try {
    return JSON.parse(text) as object;
  } catch {
    return undefined;
  }
}
