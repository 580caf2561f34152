import { defineCommand } from "citty";
import { StateError } from "../../toolchain/errors.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput } from "../output.ts";
import { openSession } from "../stack/session.ts";
import { readStatus, statusText } from "../stack/status.ts";

export const examples = ["aiwdb status", "aiwdb status --stack prod --json"];

export default defineCommand({
  meta: { name: "status", description: "One screen: containers, health, TLS, pools, migrations, certificates" },
  args: stackArguments,
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const toolchain = await setUp({ report: output.progress, images: false });
    const status = await readStatus(openSession(args.stack, toolchain), toolchain);
    output.text(statusText(status));
    if (!status.healthy)
      throw new StateError(`Stack "${args.stack}" is not healthy; see above.`, [], { result: status });
    output.json(status);
  },
});
