import { defineCommand } from "citty";
import { readMigrations } from "../../../migrate/chain/files.ts";
import {
  planMigrations,
  type HeldLock,
  type MigrationPlan,
  type PlannedStatement,
} from "../../../migrate/plan/plan.ts";
import { PHASE_NAMES, upToPhase, type Phase } from "../../../migrate/chain/phases.ts";
import { stackArguments } from "../../arguments.ts";
import { createOutput } from "../../../base/output.ts";
import { readStackConfig } from "../../../stack/settings-file.ts";
import { databaseArguments, migrationArguments, migrationsFolder, withDatabase } from "./arguments.ts";

export default defineCommand({
  args: { ...stackArguments, ...migrationArguments, ...databaseArguments },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const all = readMigrations(migrationsFolder(args));
    // What `up` would apply: the stack's rollout phase and no further.
    const phase = args["database-url"] === undefined ? (readStackConfig(args.stack).rolloutPhase as Phase) : 4;
    const migrations = upToPhase(all, phase);
    const plan = await withDatabase(args, output, (client) => planMigrations(client, migrations));
    output.json(plan);
    for (const line of describePlan(plan)) output.text(line);
    for (const warning of plan.warnings) output.warn(warning);
  },
});

function describePlan({ applied, pending, held }: MigrationPlan): string[] {
  const statements = pending.reduce((sum, migration) => sum + migration.statements.length, 0);
  return [
    `-- ${applied} applied, ${pending.length} pending with ${statements} statements, in one transaction.`,
    ...(held.length > 0 ? ["-- Locks on what is there already, each held to the end:", ...held.map(describeHeld)] : []),
    ...pending.flatMap(({ name, phase, lock, statements: own }) => [
      "",
      `-- ${name}, phase ${phase} (${PHASE_NAMES[phase]})${lock === undefined ? "" : `. Lock: ${lock}`}`,
      ...own.flatMap(describeStatement),
    ]),
  ];
}

function describeHeld({ relation, mode, size, since }: HeldLock): string {
  return `--   ${mode} on ${relation} (${formatBytes(size?.bytes ?? 0)}), from ${since} on`;
}

// Facts as comments, so that the whole is SQL that can be read and run.
function describeStatement({ sql, locks, work, opaque }: PlannedStatement): string[] {
  // Nobody waits for what does not exist yet.
  const waited = locks.filter(({ size }) => size !== undefined);
  const facts = waited.map(({ relation, mode, size }) => {
    const rows = size?.rows === undefined ? "" : `, about ${size.rows.toLocaleString("en")} rows`;
    return `--   ${mode} on ${relation} (${formatBytes(size?.bytes ?? 0)}${rows})`;
  });
  if (work !== undefined && waited.length > 0) facts.push(`--   ${work} meanwhile`);
  if (opaque) facts.push("--   runs code; its locks are not known beforehand");
  return [...facts, `${sql};`];
}

function formatBytes(bytes: number): string {
  const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const exponent = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  return `${(bytes / 1024 ** exponent).toFixed(exponent > 1 ? 1 : 0)} ${UNITS[exponent]}`;
}
