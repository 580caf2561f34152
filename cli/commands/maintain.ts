import type { Client } from "pg";
import { hasCode, messageOf, type Problem, StateError } from "../../base/errors.ts";
import type { Output } from "../../base/output.ts";
import { flag, option, optionError, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { asOwner } from "../../stack/connect.ts";
import { readPolicies, WAITING, waitingText } from "../../database/retention.ts";

export const examples = [
  "aiwdb maintain",
  "aiwdb maintain --checks           # rows that break a check, before it is validated",
  "aiwdb maintain --stack prod --json",
];

interface MadePartition {
  partition_name: string;
  starts_at: Date;
  moved_rows: string;
}

interface AppliedPolicy {
  table_name: string;
  retention_action: string;
  records_affected: number;
  execution_status: string;
  error_message: string | null;
}

interface RefreshedView {
  view_name: string;
  duration_ms: number | null;
  problem: string | null;
}

/** What the maintenance did; the shape of `aiwdb maintain --json`. */
type Report = Awaited<ReturnType<typeof maintain>>;

/** Somebody else holds a lock: https://www.postgresql.org/docs/16/errcodes-appendix.html */
const LOCK_NOT_AVAILABLE = "55P03";

export default command({
  args: {
    ...stackArguments,
    "months-ahead": { ...option("N", "Months to have partitions for"), default: "3" },
    "batch-size": { ...option("N", "Rows that retention removes at a time"), default: "5000" },
    checks: flag("Only list rows that break a check not validated yet, then validate those that none breaks"),
  },
  async run({ args, output }) {
    const monthsAhead = integer("--months-ahead", args["months-ahead"], 0, 120);
    const batchSize = integer("--batch-size", args["batch-size"], 1, 100_000);
    await asOwner(args, output, async (client) => {
      await refuseEarlierPhase(client, args.stack);
      if (args.checks) return validateChecks(client, output);
      const report = await maintain(client, monthsAhead, batchSize, output).catch(explainLock);
      output.text(describe(report, args.stack));
      if (report.problems.length > 0) {
        const summary = "Not all of the maintenance was done; the rest was, and the next run tries again:";
        throw new StateError(summary, report.problems, { result: report });
      }
      output.json(report);
    });
  },
});

function integer(subject: string, text: string, min: number, max: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const problem = `${JSON.stringify(text)} is no whole number from ${min} to ${max}.`;
  throw optionError("The maintenance was not started:", subject, problem);
}

function explainLock(error: unknown): never {
  if (!hasCode(error, LOCK_NOT_AVAILABLE)) throw error;
  const remedy = "Run the command again later; `select * from pg_locks where not granted` shows who waits for whom.";
  throw new StateError(
    "The maintenance came to a table that somebody else has locked; what was done before stays done:",
    [{ subject: "lock", problem: messageOf(error), remedy }],
    { cause: error },
  );
}

async function refuseEarlierPhase(client: Client, stack: string): Promise<void> {
  const { rows } = await client.query(
    `select to_regprocedure('maintenance.run(integer, integer)') is not null as "hasRun",
       to_regclass('maintenance.retention_status') is not null as "hasApprovals"`,
  );
  const { hasRun, hasApprovals } = rows[0];
  if (!hasRun) {
    const remedy = `Set rolloutPhase to 4 and run \`aiwdb up --stack ${stack}\`.`;
    throw new StateError(`Stack "${stack}" has no maintenance yet.`, [
      { subject: "rolloutPhase", problem: "its functions come with phase 4", remedy },
    ]);
  }
  if (!hasApprovals) {
    const problem = "those that let the owner approve retention policies are not applied";
    throw new StateError(`The database of stack "${stack}" is older than this program.`, [
      { subject: "migrations", problem, remedy: `Run \`aiwdb up --stack ${stack}\`.` },
    ]);
  }
}

async function maintain(client: Client, monthsAhead: number, batchSize: number, output: Output) {
  const durationMs = { partitions: 0, retention: 0, views: 0 };
  const timed = async <T>(part: keyof typeof durationMs, name: string, work: () => Promise<T>): Promise<T> => {
    output.progress(name);
    const start = performance.now();
    const value = await work();
    durationMs[part] = Math.round(performance.now() - start);
    return value;
  };
  /** What was not done, or not wholly. */
  const problems: Problem[] = [];
  const partitions = await timed("partitions", "partitions", () => makePartitions(client, monthsAhead, problems));
  // A role that may write policies may lock their table. The views do not wait for that.
  let locked: unknown;
  await timed("retention", "retention", () =>
    applyRetention(client, batchSize, problems).catch((error: unknown) => {
      if (!hasCode(error, LOCK_NOT_AVAILABLE)) throw error;
      locked = error;
    }),
  );
  const { rows: views } = await timed("views", "materialized views", () =>
    client.query<RefreshedView>("select view_name, duration_ms, problem from maintenance.refresh_views()"),
  );
  if (locked !== undefined) throw locked;
  // By their keys: the application may add rows to this log as well.
  const { rows: retention } = await client.query<AppliedPolicy>(
    `select table_name, retention_action, records_affected, execution_status, error_message
       from audit.data_retention_logs
      where id = any (string_to_array(nullif(current_setting('aiwdb.retention_logged'), ''), ',')::uuid[]) order by executed_at`,
  );
  // Policies that are not carried out until the owner approves them: the first thousand of `waitingTotal`.
  const { policies: waiting, total: waitingTotal } = await readPolicies(client, { states: WAITING });
  for (const { table_name: subject, execution_status: status, error_message: message } of retention) {
    if (status === "FAILURE" || status === "PARTIAL")
      problems.push({ subject, problem: `retention: ${status}: ${message ?? ""}` });
  }
  for (const { view_name: subject, problem } of views)
    if (problem !== null) problems.push({ subject, problem: `was not refreshed: ${problem}` });
  return { partitions, retention, waiting, waitingTotal, views, durationMs, problems };
}

/**
 * Removes what the approved policies say. Notes in `problems` what the database could not even write into its log,
 * which it says in a warning; the caller reads the log.
 */
async function applyRetention(client: Client, batchSize: number, problems: Problem[]): Promise<void> {
  const listen = ({ message = "" }: { message?: string | undefined }): void => {
    if (/^Retention: .*could not be/s.test(message)) problems.push({ subject: "retention", problem: message });
  };
  client.on("notice", listen);
  try {
    // A procedure that commits per batch, so it cannot stand in a query with parameters of its own transaction.
    await client.query(`call maintenance.apply_retention(${batchSize})`);
  } finally {
    client.off("notice", listen);
  }
}

/**
 * Makes the partitions of each log in a transaction of its own. No log is locked while another one is at work, and none
 * is undone with another one.
 */
async function makePartitions(client: Client, monthsAhead: number, problems: Problem[]): Promise<MadePartition[]> {
  const { rows: logs } = await client.query<{ log: string }>(
    "select distinct format('%I.%I', parent_schema, parent_table) as log from maintenance.partitions order by 1",
  );
  const made: MadePartition[] = [];
  for (const { log } of logs) {
    const { rows } = await client.query<MadePartition & { problem: string | null }>(
      "select partition_name, starts_at, moved_rows, problem from maintenance.try_partitions($1, $2::regclass)",
      [monthsAhead, log],
    );
    for (const { problem, ...partition } of rows) {
      if (problem === null) made.push(partition);
      else problems.push({ subject: log, problem: `partitions were not made: ${problem}` });
    }
  }
  return made;
}

function describe({ partitions, retention, waitingTotal, views, durationMs }: Report, stack: string): string {
  const failed = retention.filter(({ execution_status }) => execution_status !== "SUCCESS");
  const removed = retention.reduce((sum, { records_affected }) => sum + records_affected, 0);
  const policies = `${retention.length} ${retention.length === 1 ? "policy" : "policies"}`;
  const refreshed = views.filter(({ problem }) => problem === null).length;
  return [
    `partitions  ${partitions.length} made (${durationMs.partitions} ms)`,
    ...partitions.map(({ partition_name }) => `            ${partition_name}`),
    `retention   ${removed} rows by ${policies}, ${failed.length} not wholly done (${durationMs.retention} ms)`,
    ...failed.map(
      ({ table_name, execution_status, error_message }) =>
        `            ${table_name}: ${execution_status} ${error_message ?? ""}`,
    ),
    ...(waitingTotal === 0 ? [] : [`approval    ${waitingText(waitingTotal, stack)}`]),
    `views       ${refreshed} refreshed (${durationMs.views} ms)`,
  ].join("\n");
}

async function validateChecks(client: Client, output: Output): Promise<void> {
  const { rows: violations } = await client.query(
    "select table_name, constraint_name, row_key, row_values from maintenance.check_violations()",
  );
  const { rows: validated } = await client.query(
    "select table_name, constraint_name, validated, problem from maintenance.validate_checks()",
  );
  output.json({ violations, validated });
  for (const { table_name, constraint_name, row_key, row_values } of violations)
    output.text(`${table_name} ${row_key}: breaks ${constraint_name}: ${JSON.stringify(row_values)}`);
  const done = validated.filter((row) => row.validated).length;
  output.text(`${done} checks validated, ${validated.length - done} left.`);
  if (violations.length > 0)
    throw new StateError(`${violations.length} rows break a check; correct them and run this again.`);
}
