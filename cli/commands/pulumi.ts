import { requireStack } from "../../stack/known-stacks.ts";
import { display } from "../../stack/pulumi-run.ts";
import { effectiveSettings, ensureStack, openSession } from "../../stack/session.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import { behindDashes, command } from "../command.ts";

export const examples = [
  "aiwdb pulumi -- stack export",
  "aiwdb pulumi --stack prod -- refresh --yes",
  "aiwdb pulumi -- cancel",
];

/** Verbs that read the stack's settings file. */
const WITH_SETTINGS = new Set(["up", "update", "preview", "destroy", "refresh", "import", "watch"]);
/** Verbs that take no stack. */
const WITHOUT_STACK = new Set(["version", "whoami", "about"]);

export default command({
  args: stackArguments,
  async run({ args, rawArgs, output }) {
    requireStack(args.stack);
    const session = openSession(args.stack, await setUp({ report: output.progress, images: false }));
    await ensureStack(session);
    const own = behindDashes(rawArgs) ?? ["--help"];
    const [verb = ""] = own;
    const settings = WITH_SETTINGS.has(verb) ? ["--config-file", effectiveSettings(session)] : [];
    const stack = own.includes("--help") || WITHOUT_STACK.has(verb) ? [] : session.stackArguments;
    process.exitCode = (await display(session, [...own, ...stack, ...settings], false)).exitCode === 0 ? 0 : 1;
  },
});
