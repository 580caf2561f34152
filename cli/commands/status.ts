import { defineCommand } from "citty";
import { setUp } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput } from "../../base/output.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { openSession } from "../../stack/session.ts";
import { statusText } from "../../stack/status/text.ts";
import { readStatus, refuseUnlessHealthy } from "../../stack/status/status.ts";

export const examples = ["aiwdb status", "aiwdb status --stack prod --json"];

export default defineCommand({
  args: stackArguments,
  async run({ args }) {
    const output = createOutput({ json: args.json });
    requireStack(args.stack);
    const toolchain = await setUp({ report: output.progress, images: false });
    const status = await readStatus(openSession(args.stack, toolchain), toolchain);
    output.text(statusText(status));
    refuseUnlessHealthy(status, `Stack "${args.stack}" is`);
    output.json(status);
  },
});
