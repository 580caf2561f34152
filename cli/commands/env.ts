import { libpqEnvironment } from "../../database/libpq.ts";
import type { Report } from "../../base/progress.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { effectiveSettings, ensureStack, openSession } from "../../stack/session.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { flag, jsonArgument, optionError } from "../arguments.ts";
import { command } from "../command.ts";
import { connectionArguments, requestedConnection } from "../connection-arguments.ts";

export const examples = [
  'eval "$(aiwdb env)" && psql',
  "aiwdb env --role app_readonly --json",
  'eval "$(aiwdb env --pulumi)" && pulumi preview -s dev --diff',
];

export default command({
  args: {
    ...connectionArguments,
    ...jsonArgument,
    pulumi: flag("What plain `pulumi` needs to go on with the stack: programs, engine, state, passphrase, settings"),
  },
  async run({ args, output }) {
    const connecting = (["role", "mode"] as const).find((name) => args[name] !== "");
    if (args.pulumi && connecting)
      throw optionError(
        `--pulumi and --${connecting} do not go together.`,
        `--${connecting}`,
        "is about a connection to the database",
      );
    const variables = args.pulumi
      ? await pulumiEnvironment(args.stack, output.progress)
      : libpqEnvironment(await requestedConnection(args, output));
    for (const line of shellLines(variables)) output.text(line);
    output.json(Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, value ?? null])));
  },
});

/** Lines that a POSIX shell evaluates. Inside single quotes it gives a meaning to nothing but a quote. */
export function shellLines(variables: NodeJS.ProcessEnv): string[] {
  const entries = Object.entries(variables);
  const unset = entries.filter(([, value]) => value === undefined).map(([name]) => name);
  const exported = entries.flatMap(([name, value]) =>
    value === undefined ? [] : [`export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`],
  );
  return unset.length > 0 ? [`unset ${unset.join(" ")}`, ...exported] : exported;
}

/** Printed even where the shell has the same value: they say which state and which engine are meant. */
const ALWAYS = new Set(["PULUMI_BACKEND_URL", "DOCKER_HOST"]);

/**
 * What a shell must change for plain `pulumi`; undefined where a variable must not be set. It names files with secrets,
 * and has no secret itself.
 */
async function pulumiEnvironment(stack: string, report: Report): Promise<NodeJS.ProcessEnv> {
  requireStack(stack);
  const session = openSession(stack, await setUp({ report, images: false }));
  await ensureStack(session);
  const env: NodeJS.ProcessEnv = {
    ...session.env,
    // The copy of the settings with the passphrase's salt; https://www.pulumi.com/docs/iac/cli/environment-variables/
    PULUMI_OPTION_CONFIG_FILE: effectiveSettings(session),
    // The session's options would reach every client in that shell, and the pooler refuses them.
    PGOPTIONS: undefined,
  };
  return Object.fromEntries(
    Object.entries(env).filter(([name, value]) => value !== process.env[name] || ALWAYS.has(name)),
  );
}
