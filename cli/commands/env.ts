import { defineCommand } from "citty";
import { UsageError } from "../../base/errors.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { createOutput, type Output } from "../../base/output.ts";
import { connectionArguments, requestedConnection } from "../connection-arguments.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { libpqEnvironment } from "../../database/libpq.ts";
import { effectiveSettings, ensureStack, openSession } from "../../stack/session.ts";

export const examples = [
  'eval "$(aiwdb env)" && psql',
  "aiwdb env --role app_readonly --json",
  'eval "$(aiwdb env --pulumi)" && pulumi preview -s dev --diff',
];

export default defineCommand({
  args: {
    ...connectionArguments,
    pulumi: {
      type: "boolean",
      default: false,
      description: "What plain `pulumi` needs to go on with the stack: programs, engine, state, passphrase, settings",
    },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    if (args.pulumi && args.mode !== "")
      throw new UsageError("--pulumi and --mode do not go together.", [
        { subject: "--mode", problem: "is about a connection to the database" },
      ]);
    const variables = args.pulumi
      ? await pulumiEnvironment(args.stack, output)
      : libpqEnvironment(await requestedConnection(args, output));
    for (const line of shellLines(variables)) output.text(line);
    output.json(Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, value ?? null])));
  },
});

/** What a POSIX shell evaluates; nothing but a quote means anything inside single quotes. */
export function shellLines(variables: NodeJS.ProcessEnv): string[] {
  const entries = Object.entries(variables);
  const unset = entries.filter(([, value]) => value === undefined).map(([name]) => name);
  return [
    ...(unset.length > 0 ? [`unset ${unset.join(" ")}`] : []),
    ...entries.flatMap(([name, value]) =>
      value === undefined ? [] : [`export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`],
    ),
  ];
}

/** Shown also where the shell has them already: they say which state and engine are meant. */
const ALWAYS = new Set(["PULUMI_BACKEND_URL", "DOCKER_HOST"]);

/** What a shell must change for plain `pulumi`; undefined where a variable must not be set. Secrets stay in their files. */
async function pulumiEnvironment(stack: string, output: Output): Promise<NodeJS.ProcessEnv> {
  requireStack(stack);
  const session = openSession(stack, await setUp({ report: output.progress, images: false }));
  await ensureStack(session);
  // The copy of the settings that has the passphrase's salt; https://www.pulumi.com/docs/iac/cli/environment-variables/
  const env: NodeJS.ProcessEnv = { ...session.env, PULUMI_OPTION_CONFIG_FILE: effectiveSettings(session) };
  return Object.fromEntries(
    Object.entries(env).filter(([name, value]) => value !== process.env[name] || ALWAYS.has(name)),
  );
}
