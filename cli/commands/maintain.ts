import { defineCommand } from "citty";
import type { Client } from "pg";
import { hasCode, type Problem, StateError, UsageError } from "../../base/errors.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput, type Output } from "../../base/output.ts";
import { asOwner } from "../../stack/connect.ts";
import { readPolicies, type RetentionPolicy, WAITING, waitingText } from "../../database/retention.ts";

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

interface Report {
  readonly partitions: readonly MadePartition[];
  readonly retention: readonly {
    table_name: string;
    retention_action: string;
    records_affected: number;
    execution_status: string;
    error_message: string | null;
  }[];
  /** Policies that are not carried out until the owner approves them. */
  /** The first thousand of `waitingTotal`. */
  readonly waiting: readonly RetentionPolicy[];
  readonly waitingTotal: number;
  readonly views: readonly { view_name: string; duration_ms: number | null; problem: string | null }[];
  readonly durationMs: { readonly partitions: number; readonly retention: number; readonly views: number };
  /** What was not done, or not wholly. */
  readonly problems: readonly Problem[];
}

/** Somebody else holds a lock: https://www.postgresql.org/docs/16/errcodes-appendix.html */
const LOCK_NOT_AVAILABLE = "55P03";

export default defineCommand({
  args: {
    ...stackArguments,
    "months-ahead": { type: "string", default: "3", description: "Months to have partitions for", valueHint: "N" },
    "batch-size": {
      type: "string",
      default: "5000",
      description: "Rows that retention removes at a time",
      valueHint: "N",
    },
    checks: {
      type: "boolean",
      default: false,
      description: "Only list rows that break a check not validated yet, then validate those that none breaks",
    },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const monthsAhead = integer("--months-ahead", args["months-ahead"], 0, 120);
    const batchSize = integer("--batch-size", args["batch-size"], 1, 100_000);
    await asOwner(args, output, async (client) => {
      await refuseEarlierPhase(client, args.stack);
      if (args.checks) return validateChecks(client, output);
      const report = await maintain(client, monthsAhead, batchSize, output).catch(explainLock);
      output.text(describe(report, args.stack));
      if (report.problems.length > 0) {
        throw new StateError(
          "Not all of the maintenance was done; the rest was, and the next run tries again:",
          report.problems,
          { result: report },
        );
      }
      output.json(report);
    });
  },
});

function integer(subject: string, text: string, min: number, max: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError("The maintenance was not started:", [
    { subject, problem: `${JSON.stringify(text)} is no whole number from ${min} to ${max}.` },
  ]);
}

function explainLock(error: unknown): never {
  if (!hasCode(error, LOCK_NOT_AVAILABLE)) throw error;
  throw new StateError(
    "The maintenance came to a table that somebody else has locked; what was done before stays done:",
    [
      {
        subject: "lock",
        problem: (error as Error).message,
        remedy: "Run the command again later; `select * from pg_locks where not granted` shows who waits for whom.",
      },
    ],
    { cause: error },
  );
}

async function refuseEarlierPhase(client: Client, stack: string): Promise<void> {
  const { rows } = await client.query(
    `select to_regprocedure('maintenance.run(integer, integer)') is not null as "hasRun",
       to_regclass('maintenance.retention_status') is not null as "hasApprovals"`,
  );
  if (rows[0].hasRun && rows[0].hasApprovals) return;
  throw new StateError(
    rows[0].hasRun
      ? `The database of stack "${stack}" is older than this program.`
      : `Stack "${stack}" has no maintenance yet.`,
    [
      rows[0].hasRun
        ? {
            subject: "migrations",
            problem: "those that let the owner approve retention policies are not applied",
            remedy: `Run \`aiwdb up --stack ${stack}\`.`,
          }
        : {
            subject: "rolloutPhase",
            problem: "its functions come with phase 4",
            remedy: `Set rolloutPhase to 4 and run \`aiwdb up --stack ${stack}\`.`,
          },
    ],
  );
}

async function maintain(client: Client, monthsAhead: number, batchSize: number, output: Output): Promise<Report> {
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<[T, number]> => {
    output.progress(what);
    const start = performance.now();
    const value = await work();
    return [value, Math.round(performance.now() - start)];
  };
  const problems: Problem[] = [];
  const [partitions, partitionsMs] = await timed("partitions", () => makePartitions(client, monthsAhead, problems));
  // Whoever may write policies may lock their table; the views don't wait for that.
  let locked: unknown;
  const [, retentionMs] = await timed("retention", () =>
    applyRetention(client, batchSize, problems).catch((error: unknown) => {
      if (!hasCode(error, LOCK_NOT_AVAILABLE)) throw error;
      locked = error;
    }),
  );
  const [views, viewsMs] = await timed("materialized views", () =>
    client.query<Report["views"][number]>("select view_name, duration_ms, problem from maintenance.refresh_views()"),
  );
  if (locked !== undefined) throw locked;
  // By their keys: the application may add rows to this log as well.
  const retention = await client.query<Report["retention"][number]>(
    `select table_name, retention_action, records_affected, execution_status, error_message
       from audit.data_retention_logs
      where id = any (string_to_array(nullif(current_setting('aiwdb.retention_logged'), ''), ',')::uuid[]) order by executed_at`,
  );
  const { policies: waiting, total: waitingTotal } = await readPolicies(client, { states: WAITING });
  for (const { table_name, execution_status, error_message } of retention.rows) {
    if (execution_status === "FAILURE" || execution_status === "PARTIAL")
      problems.push({ subject: table_name, problem: `retention: ${execution_status}: ${error_message ?? ""}` });
  }
  for (const { view_name, problem } of views.rows) {
    if (problem !== null) problems.push({ subject: view_name, problem: `was not refreshed: ${problem}` });
  }
  return {
    partitions,
    retention: retention.rows,
    waiting,
    waitingTotal,
    views: views.rows,
    durationMs: { partitions: partitionsMs, retention: retentionMs, views: viewsMs },
    problems,
  };
}

/** What can't even be written into the log comes as a warning; what is in the log is read there. */
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

/** Log by log, a transaction each, so that none is locked while another is worked on, nor undone with it. */
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
  return [
    `partitions  ${partitions.length} made (${durationMs.partitions} ms)`,
    ...partitions.map(({ partition_name }) => `            ${partition_name}`),
    `retention   ${retention.reduce((sum, { records_affected }) => sum + records_affected, 0)} rows by ${retention.length} ${retention.length === 1 ? "policy" : "policies"}, ${failed.length} not wholly done (${durationMs.retention} ms)`,
    ...failed.map(
      ({ table_name, execution_status, error_message }) =>
        `            ${table_name}: ${execution_status} ${error_message ?? ""}`,
    ),
    ...(waitingTotal === 0 ? [] : [`approval    ${waitingText(waitingTotal, stack)}`]),
    `views       ${views.filter(({ problem }) => problem === null).length} refreshed (${durationMs.views} ms)`,
  ].join("\n");
}

async function validateChecks(client: Client, output: Output): Promise<void> {
  const violations = await client.query(
    "select table_name, constraint_name, row_key, row_values from maintenance.check_violations()",
  );
  const validated = await client.query(
    "select table_name, constraint_name, validated, problem from maintenance.validate_checks()",
  );
  output.json({ violations: violations.rows, validated: validated.rows });
  for (const { table_name, constraint_name, row_key, row_values } of violations.rows) {
    output.text(`${table_name} ${row_key}: breaks ${constraint_name}: ${JSON.stringify(row_values)}`);
  }
  const done = validated.rows.filter((row) => row.validated).length;
  output.text(`${done} checks validated, ${validated.rows.length - done} left.`);
  if (violations.rows.length > 0)
    throw new StateError(`${violations.rows.length} rows break a check; correct them and run this again.`);
}
