import { readStatus, refuseUnlessHealthy } from "../../stack/status/status.ts";
import { statusText } from "../../stack/status/text.ts";
import { up } from "../../stack/up.ts";
import { flag, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { person } from "../person.ts";

export const examples = [
  "aiwdb up",
  "aiwdb up --stack prod          # needs PULUMI_CONFIG_PASSPHRASE_FILE",
  "aiwdb up --rotate-certificates # new leaf certificates now, by reload",
  "aiwdb up --rotate-authority    # a new certificate authority, one of three phases",
];

export default command({
  args: {
    ...stackArguments,
    yes: { ...flag("Do not ask before changing a stack that is not disposable"), alias: "y" },
    backup: {
      type: "boolean",
      default: true,
      description: "Back the database up before pending migrations; dev, ci-… and pr-… stacks are not",
      negativeDescription: "Apply pending migrations without a backup",
    },
    "reset-passwords": flag(
      "The state was lost and the data volume kept: give every role a new password and go on with the data. With --yes also where another state made the stack",
    ),
    "empty-database": flag(
      "The data volume, or the database in it, is gone: go on with an empty database in its place",
    ),
    "rotate-certificates": flag("Replace every leaf certificate now instead of when it is due"),
    "rotate-authority": flag(
      "Replace the certificate authority by one of three phases: trust a new one too, use it, drop the old one. Run it three times; clients of either connect in between",
    ),
  },
  async run({ args, output }) {
    const { stack, yes, backup } = args;
    const options = {
      stack,
      yes,
      backup,
      resetPasswords: args["reset-passwords"],
      emptyDatabase: args["empty-database"],
      rotateCertificates: args["rotate-certificates"],
      rotateAuthority: args["rotate-authority"],
    };
    const { session, toolchain } = await up(options, person(output, args.json));
    const status = await readStatus(session, toolchain);
    output.text(statusText(status));
    refuseUnlessHealthy(status, `Stack "${stack}" is up and`);
    output.json(status);
  },
});
