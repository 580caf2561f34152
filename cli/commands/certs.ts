import { defineCommand } from "citty";
import { settings } from "../../infra/settings/table.ts";
import { issuedCertificates } from "../../stack/issued-certificates.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { openSession } from "../../stack/session.ts";
import { readStackConfig } from "../../stack/settings-file.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { flag, option, optionError, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { parseStackRole } from "../connection-arguments.ts";
import type { Output } from "../../base/output.ts";

export const examples = [
  "aiwdb certs issue app_readonly --output ./for-anna",
  "aiwdb certs issue app_user --output ./worker-2 --days 30 --stack prod",
  "aiwdb certs issue app_user --output ./worker-2 --csr worker-2.csr   # the key never leaves the other machine",
  "aiwdb certs list",
];

async function sessionOf(stack: string, output: Output) {
  requireStack(stack);
  return openSession(stack, await setUp({ report: output.progress, images: false }));
}

/** @throws UsageError unless the text is a life that `certLeafValidityDays` may have too */
function parseDays(text: string): number {
  const { data, error } = settings.certLeafValidityDays.safeParse(text);
  if (error === undefined) return data;
  throw optionError(`A certificate cannot live for "${text}" days.`, "--days", error.issues[0]?.message ?? "");
}

const issue = command({
  meta: {
    name: "issue",
    description:
      "Make a further client certificate for a role, with its key and ca.crt, in a folder. The role's own certificate stays; its password is not in the folder",
  },
  args: {
    ...stackArguments,
    role: {
      type: "positional",
      required: true,
      description: "Role, as for `aiwdb url`: the certificate's common name",
    },
    output: { ...option("FOLDER", "Folder for ca.crt, ROLE.crt and ROLE.key"), alias: "o", required: true },
    days: option(
      "N",
      "Days that it is valid, at most 3650 and not beyond the authority's end. Default: certLeafValidityDays",
    ),
    csr: option(
      "FILE",
      "Signing request (PKCS #10) of a key that is elsewhere; no key is made then, and the names in it do not count",
    ),
    overwrite: flag("Replace files that are in the folder already"),
  },
  async run({ args, output }) {
    const { stack, overwrite, csr: request, output: folder } = args;
    const { name: role } = parseStackRole(args.role, stack, "ROLE");
    const days = args.days === undefined ? undefined : parseDays(args.days);
    const session = await sessionOf(stack, output);
    const options = { role, folder, days: days ?? readStackConfig(stack).certLeafValidityDays, request, overwrite };
    // Loaded only where something is signed: the library takes a while.
    const { issueCertificate } = await import("../../stack/issue-certificate.ts");
    const issued = await issueCertificate(session, options);
    const { serial, validTo, daysLeft, phase, files } = issued;
    output.text(`${role}: certificate ${serial}, valid until ${validTo} (${daysLeft} days)`);
    for (const file of files) output.text(`  ${file}`);
    output.text(`The password is not among them: \`aiwdb url --stack ${stack} --role ${role}\` prints it.`);
    if (phase === 1)
      output.warn(
        "the certificate authority is being replaced, and the old one still signs: the third phase ends this certificate. Issue it after the second phase.",
      );
    output.json({ stack, ...issued });
  },
});

const list = command({
  meta: { name: "list", description: "Certificates that were issued on this machine, by the end of their life" },
  args: stackArguments,
  async run({ args, output }) {
    const issued = await issuedCertificates(await sessionOf(args.stack, output));
    output.json({ stack: args.stack, issued });
    if (issued.length === 0) output.text("No certificate has been issued on this machine.");
    for (const { role, serial, validTo, daysLeft, state } of issued)
      output.text(`${role}  ${serial}  ${validTo}  ${state === "valid" ? `${daysLeft} days left` : state}`);
  },
});

export default defineCommand({ subCommands: { issue, list } });
