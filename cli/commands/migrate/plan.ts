import { readMigrations } from "../../../migrate/chain/files.ts";
import { type MigrationPlan, planMigrations, type PlannedStatement } from "../../../migrate/plan/plan.ts";
import { PHASE_NAMES, upToPhase, type Phase } from "../../../migrate/chain/phases.ts";
import { stackArguments } from "../../arguments.ts";
import { command } from "../../command.ts";
import { readStackConfig } from "../../../stack/settings-file.ts";
import { databaseArguments, migrationArguments, migrationsFolder, withDatabase } from "./arguments.ts";

export default command({
  args: { ...stackArguments, ...migrationArguments, ...databaseArguments },
  async run({ args, output }) {
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
    ...(held.length > 0 ? ["-- Locks on what is there already, each held to the end:"] : []),
    ...held.map(
      ({ relation, mode, size, since }) =>
        `--   ${mode} on ${relation} (${formatBytes(size?.bytes ?? 0)}), from ${since} on`,
    ),
    ...pending.flatMap(({ name, phase, lock, statements: own }) => [
      "",
      `-- ${name}, phase ${phase} (${PHASE_NAMES[phase]})${lock === undefined ? "" : `. Lock: ${lock}`}`,
      ...own.flatMap(describeStatement),
    ]),
  ];
}

/** A statement below its facts. The facts are comments, so that people can read and run the whole as SQL. */
function describeStatement({ sql, locks, work, opaque }: PlannedStatement): string[] {
  // Nobody waits for a relation that does not exist yet. It has no size.
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
