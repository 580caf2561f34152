import { defineCommand } from "citty";
import { setUp } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput } from "../../base/output.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { display } from "../../stack/pulumi-run.ts";
import { effectiveSettings, ensureStack, openSession } from "../../stack/session.ts";

export const examples = [
  "aiwdb pulumi -- stack export",
  "aiwdb pulumi --stack prod -- refresh --yes",
  "aiwdb pulumi -- cancel",
];

/** Verbs that read the stack's settings file. */
const WITH_SETTINGS = new Set(["up", "update", "preview", "destroy", "refresh", "import", "watch"]);

export default defineCommand({
  args: stackArguments,
  async run({ args, rawArgs }) {
    const output = createOutput({ json: false });
    requireStack(args.stack);
    const toolchain = await setUp({ report: output.progress, images: false });
    const session = openSession(args.stack, toolchain);
    await ensureStack(session);
    const dashes = rawArgs.indexOf("--");
    const own = dashes < 0 ? ["--help"] : rawArgs.slice(dashes + 1);
    const settings = WITH_SETTINGS.has(own[0] ?? "") ? ["--config-file", effectiveSettings(session)] : [];
    const stack =
      own.includes("--help") || ["version", "whoami", "about"].includes(own[0] ?? "") ? [] : session.stackArguments;
    process.exitCode = (await display(session, [...own, ...stack, ...settings], false)).exitCode === 0 ? 0 : 1;
  },
});
