import { defineCommand, type ArgsDef, type CommandDef } from "citty";
import { UsageError } from "../toolchain/errors.ts";

/** A command's module; `examples` follow its help. */
export interface CommandModule {
  readonly default: CommandDef<any>;
  readonly examples?: readonly string[];
}

/** Commands by name, loaded when they are run. */
export const commands: Readonly<Record<string, () => Promise<CommandModule>>> = {
  up: () => import("./commands/up.ts"),
  preview: () => import("./commands/preview.ts"),
  down: () => import("./commands/down.ts"),
  status: () => import("./commands/status.ts"),
  stacks: () => import("./commands/stacks.ts"),
  url: () => import("./commands/url.ts"),
  env: () => import("./commands/env.ts"),
  psql: () => import("./commands/psql.ts"),
  migrate: () => import("./commands/migrate.ts"),
  rollback: () => import("./commands/rollback.ts"),
  maintain: () => import("./commands/maintain.ts"),
  retention: () => import("./commands/retention.ts"),
  privacy: () => import("./commands/privacy.ts"),
  testdb: () => import("./commands/testdb.ts"),
  reap: () => import("./commands/reap.ts"),
  doctor: () => import("./commands/doctor.ts"),
  pulumi: () => import("./commands/pulumi.ts"),
  dev: () => import("./commands/dev.ts"),
};

/** The program itself. */
export const program: CommandModule = {
  default: defineCommand({
    meta: {
      name: "aiwdb",
      description: "PostgreSQL 16 and PgBouncer with mTLS on every hop, one database name, one migration chain",
    },
    subCommands: Object.fromEntries(
      Object.entries(commands).map(([name, load]) => [name, () => load().then((module) => module.default)]),
    ),
  }),
  examples: [
    "aiwdb up",
    "aiwdb preview --stack prod",
    'psql "$(aiwdb url --role app_user --mode transaction)"',
    "aiwdb status --json",
  ],
};

/** What an option, a list of sub-commands or a command may be: a value, or a function that gives it. */
async function resolve(value: unknown): Promise<any> {
  return typeof value === "function" ? (value as () => unknown)() : value;
}

/** A command of a command line, with what is left of its arguments. */
export interface FoundCommand {
  readonly module: CommandModule;
  /** `["migrate", "check"]`. */
  readonly path: readonly string[];
  readonly rest: readonly string[];
  readonly args: ArgsDef;
}

/**
 * The command that the first words of a command line name.
 *
 * @throws UsageError if there is none
 */
export async function findCommand(argv: readonly string[]): Promise<FoundCommand> {
  let module = program;
  let rest = argv;
  const path: string[] = [];
  for (;;) {
    const below = (await resolve(module.default.subCommands)) as Record<string, unknown> | undefined;
    const next = rest[0];
    if (!below || next === undefined || next.startsWith("-")) break;
    const found = below[next];
    if (!found) {
      throw new UsageError(`There is no command "${[...path, next].join(" ")}".`, [
        {
          subject: "commands",
          problem: Object.keys(below).join(", "),
          remedy: `See \`${["aiwdb", ...path].join(" ")} --help\`.`,
        },
      ]);
    }
    // Examples are a whole module's: those of `migrate` stand for `migrate check` too.
    module =
      path.length === 0 ? await commands[next]!() : { ...module, default: (await resolve(found)) as CommandDef<any> };
    path.push(next);
    rest = rest.slice(1);
  }
  return { module, path, rest, args: ((await resolve(module.default.args)) ?? {}) as ArgsDef };
}
