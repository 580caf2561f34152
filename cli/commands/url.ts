import { defineCommand } from "citty";
import { createOutput } from "../../base/output.ts";
import { connectionArguments, requestedConnection } from "../connection-arguments.ts";
import { libpqUrl } from "../../database/libpq.ts";

export const examples = [
  'psql "$(aiwdb url)"',
  "aiwdb url --role app_readonly --mode session",
  "aiwdb url --stack prod --role ai_workflow_owner --mode direct",
];

export default defineCommand({
  args: connectionArguments,
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const url = libpqUrl(await requestedConnection(args, output));
    output.text(url);
    output.json({ url });
  },
});
