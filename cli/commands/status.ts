import { requireStack } from "../../stack/known-stacks.ts";
import { openSession } from "../../stack/session.ts";
import { readStatus, refuseUnlessHealthy } from "../../stack/status/status.ts";
import { statusText } from "../../stack/status/text.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import { command } from "../command.ts";

export const examples = ["aiwdb status", "aiwdb status --stack prod --json"];

export default command({
  args: stackArguments,
  async run({ args, output }) {
    requireStack(args.stack);
    const toolchain = await setUp({ report: output.progress, images: false });
    const status = await readStatus(openSession(args.stack, toolchain), toolchain);
    output.text(statusText(status));
    refuseUnlessHealthy(status, `Stack "${args.stack}" is`);
    output.json(status);
  },
});
