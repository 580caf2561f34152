import { defineCommand, renderUsage, runCommand, type ArgsDef, type CommandDef } from "citty";
import { UsageError, UserError } from "../toolchain/errors.ts";
import { createOutput } from "./output.ts";

/** Commands by name, loaded when they are run. A module's `examples` follow its help. */
const commands: Record<string, () => Promise<{ default: CommandDef<any>; examples?: readonly string[] }>> = {
  up: () => import("./commands/up.ts"),
  preview: () => import("./commands/preview.ts"),
  down: () => import("./commands/down.ts"),
  status: () => import("./commands/status.ts"),
  url: () => import("./commands/url.ts"),
  env: () => import("./commands/env.ts"),
  psql: () => import("./commands/psql.ts"),
  doctor: () => import("./commands/doctor.ts"),
  pulumi: () => import("./commands/pulumi.ts"),
  dev: () => import("./commands/dev.ts"),
};

const main = defineCommand({
  meta: {
    name: "aiwdb",
    description: "PostgreSQL 16 and PgBouncer with mTLS on every hop, one database name, one migration chain",
  },
  subCommands: Object.fromEntries(Object.entries(commands).map(([name, load]) => [name, () => load().then((module) => module.default)])),
});

const EXAMPLES = ["aiwdb up", "aiwdb preview --stack prod", 'psql "$(aiwdb url --role app_user --mode transaction)"', "aiwdb status --json"];

async function run(argv: readonly string[]): Promise<void> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") return help(main, EXAMPLES);
  const load = commands[name];
  if (!load) {
    throw new UsageError(`There is no command "${name}".`, [{ subject: "commands", problem: Object.keys(commands).join(", "), remedy: "See `aiwdb --help`." }]);
  }
  let module: Awaited<ReturnType<typeof load>> = await load();
  let path = [name];
  let args = rest;
  // Commands of commands: `aiwdb migrate check`.
  for (;;) {
    const next = args[0];
    const subCommands = (await resolve(module.default.subCommands)) as Record<string, unknown> | undefined;
    if (!subCommands) break;
    if (next === undefined || next.startsWith("-")) break;
    const found = subCommands[next];
    if (!found) {
      throw new UsageError(`There is no command "${[...path, next].join(" ")}".`, [
        { subject: "commands", problem: Object.keys(subCommands).join(", "), remedy: `See \`aiwdb ${path.join(" ")} --help\`.` },
      ]);
    }
    module = { default: (await resolve(found)) as CommandDef<any>, ...(module.examples ? { examples: module.examples } : {}) };
    path = [...path, next];
    args = args.slice(1);
  }
  const own = beforeDoubleDash(args);
  if (own.includes("--help") || own.includes("-h")) return help(module.default, module.examples ?? [], path);
  if (module.default.subCommands && !module.default.run) return help(module.default, module.examples ?? [], path);
  refuseUnknown(own, ((await resolve(module.default.args)) ?? {}) as ArgsDef, path.join(" "));
  await runCommand(module.default, { rawArgs: args });
}

async function resolve(value: unknown): Promise<unknown> {
  return typeof value === "function" ? (value as () => unknown)() : value;
}

function beforeDoubleDash(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end < 0 ? args : args.slice(0, end);
}

/** An option that is misspelt must not be passed over in silence. */
function refuseUnknown(args: readonly string[], definition: ArgsDef, command: string): void {
  const known = new Map<string, string>();
  for (const [name, spec] of Object.entries(definition)) {
    const aliases = "alias" in spec && spec.alias ? [spec.alias].flat() : [];
    for (const spelling of [name, ...aliases]) known.set(spelling, spec.type ?? "boolean");
  }
  const positionals = Object.values(definition).filter((spec) => spec.type === "positional").length;
  let seen = 0;
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] as string;
    if (!arg.startsWith("-")) {
      seen += 1;
      if (seen > positionals) throw new UsageError(`\`aiwdb ${command}\` does not take "${arg}".`, [helpFor(command)]);
      continue;
    }
    const [option = ""] = arg.replace(/^--?/, "").split("=");
    const type = known.get(option) ?? (option.startsWith("no-") ? known.get(option.slice(3)) : undefined);
    if (type === undefined) throw new UsageError(`\`aiwdb ${command}\` has no option ${arg.split("=")[0]}.`, [helpFor(command)]);
    if (type !== "boolean" && !arg.includes("=")) {
      if (args[at + 1] === undefined) throw new UsageError(`${arg} needs a value.`, [helpFor(command)]);
      at += 1;
    }
  }
}

function helpFor(command: string) {
  return { subject: "usage", problem: `see \`aiwdb ${command} --help\`` };
}

async function help(command: CommandDef<any>, examples: readonly string[], path: readonly string[] = []): Promise<void> {
  const parent = path.length === 0 ? undefined : defineCommand({ meta: { name: ["aiwdb", ...path.slice(0, -1)].join(" ") } });
  let usage = await renderUsage(command, parent);
  if (!process.stdout.isTTY || process.env["NO_COLOR"]) usage = usage.replaceAll(/\u001B\[[0-9;]*m/g, "");
  process.stdout.write(`${usage}\n`);
  if (examples.length > 0) process.stdout.write(`\nEXAMPLES\n\n${examples.map((example) => `  ${example}`).join("\n")}\n`);
}

const argv = process.argv.slice(2);
try {
  await run(argv);
} catch (error) {
  // citty's own errors are about the command line.
  const shown = (error as Error).name === "CLIError" ? new UsageError((error as Error).message) : error;
  createOutput({ json: beforeDoubleDash(argv).includes("--json") }).error(shown);
  process.exitCode = shown instanceof UserError ? shown.exitCode : 1;
}
