import { defineCommand } from "citty";
import type { CommandModule } from "./find-command.ts";

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
  modules: commands,
  examples: [
    "aiwdb up",
    "aiwdb preview --stack prod",
    'psql "$(aiwdb url --role app_user --mode transaction)"',
    "aiwdb status --json",
  ],
};
