import type { CommandModule } from "./find-command.ts";

/** Every command with the line that the help shows; its module is loaded when the command is run. */
export const program: CommandModule = {
  default: {
    meta: {
      name: "aiwdb",
      description: "PostgreSQL 16 and PgBouncer with mTLS on every hop, one database name, one migration chain",
    },
  },
  commands: {
    up: {
      description:
        "Bring a stack up, or to what its settings and migrations say: engine, images, certificates, servers, database",
      load: () => import("./commands/up.ts"),
    },
    preview: {
      description: "Show what `up` would change, pending migrations by name; changes nothing",
      load: () => import("./commands/preview.ts"),
    },
    down: {
      description:
        "Remove a stack: containers, network, volumes, certificates. Data of stacks other than dev, ci-… and pr-… only with --delete-data",
      load: () => import("./commands/down.ts"),
    },
    status: {
      description: "One screen: containers, health, TLS, pools, migrations, certificates",
      load: () => import("./commands/status.ts"),
    },
    stacks: {
      description: "List the stacks: with a state, with a settings file, on the engine",
      load: () => import("./commands/stacks.ts"),
    },
    url: {
      description: "Print a connection, password included, in the form that psql or a driver takes",
      load: () => import("./commands/url.ts"),
    },
    env: {
      description: "Print shell exports of the PG* variables and DATABASE_URL, or of what plain `pulumi` needs",
      load: () => import("./commands/env.ts"),
    },
    psql: {
      description: "Open psql on the stack; what follows -- goes to psql",
      load: () => import("./commands/psql.ts"),
    },
    logs: {
      description: "Show what the stack's containers wrote: PostgreSQL, PgBouncer, maintenance",
      load: () => import("./commands/logs.ts"),
    },
    dump: {
      description: "Dump the stack's database by the server's own pg_dump; what follows -- goes to pg_dump",
      load: () => import("./commands/dump.ts"),
    },
    certs: {
      description: "Issue further client certificates: for a second machine or person",
      load: () => import("./commands/certs.ts"),
    },
    migrate: {
      description: "Check, write and preview migrations; `aiwdb up` applies them",
      load: () => import("./commands/migrate.ts"),
    },
    rollback: {
      description: "Take migrations back, the last one first, all in one transaction",
      load: () => import("./commands/rollback.ts"),
    },
    maintain: {
      description:
        "Make partitions ahead, apply the retention policies, refresh the materialized views: what the stack's maintenance container does on schedule",
      load: () => import("./commands/maintain.ts"),
    },
    retention: {
      description: "Approve the retention policies that maintenance carries out",
      load: () => import("./commands/retention.ts"),
    },
    privacy: {
      description: "Carry out a user's rights: export, erasure, pseudonymisation",
      load: () => import("./commands/privacy.ts"),
    },
    testdb: {
      description:
        "Databases for tests, one per test, in milliseconds: start, run, create, list, drop, psql, serve, stop",
      load: () => import("./commands/testdb.ts"),
    },
    reap: {
      description: "Remove the stacks named ci-… and pr-… that are past their expiry, and only those",
      load: () => import("./commands/reap.ts"),
    },
    doctor: {
      description: "Show every tool with its version and how it was come by; check ports, disk, clock and versions",
      load: () => import("./commands/doctor.ts"),
    },
    pulumi: {
      description: "Run any Pulumi command on the stack, with the programs, state and passphrase `up` uses",
      load: () => import("./commands/pulumi.ts"),
    },
  },
  examples: [
    "aiwdb up",
    "aiwdb preview --stack prod",
    "aiwdb psql --role app_readonly --mode session",
    "aiwdb status --json",
  ],
};
