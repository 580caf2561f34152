import { libpqUrl } from "../../database/libpq.ts";
import { command } from "../command.ts";
import { connectionArguments, requestedConnection } from "../connection-arguments.ts";

export const examples = [
  'psql "$(aiwdb url)"',
  "aiwdb url --role app_readonly --mode session",
  "aiwdb url --stack prod --role ai_workflow_owner --mode direct",
];

export default command({
  args: connectionArguments,
  async run({ args, output }) {
    const url = libpqUrl(await requestedConnection(args, output));
    output.text(url);
    output.json({ url });
  },
});
