import { defineCommand } from "citty";
import type { Client } from "pg";
import { StateError } from "../../toolchain/errors.ts";
import { ROLES } from "../../infra/names.ts";
import { withConnection } from "../../infra/provider/connection.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput, type Output } from "../output.ts";
import { requestedConnection } from "../stack/connect.ts";

export const examples = [
  "aiwdb maintain",
  "aiwdb maintain --checks           # rows that break a check, before it is validated",
  "aiwdb maintain --stack prod --json",
];

interface Report {
  readonly partitions: readonly { partition_name: string; starts_at: Date; moved_rows: string }[];
  readonly retention: readonly {
    table_name: string;
    retention_action: string;
    records_affected: number;
    execution_status: string;
    error_message: string | null;
  }[];
  readonly views: readonly { view_name: string; duration_ms: number }[];
  readonly durationMs: { readonly partitions: number; readonly retention: number; readonly views: number };
}

export default defineCommand({
  meta: {
    name: "maintain",
    description:
      "Make partitions ahead, apply the retention policies, refresh the materialized views: what the stack's maintenance container does on schedule",
  },
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
    const connection = await requestedConnection({ stack: args.stack, role: ROLES.owner, mode: "direct" }, output);
    await withConnection(connection, async (client) => {
      await refuseEarlierPhase(client, args.stack);
      if (args.checks) return validateChecks(client, output);
      const report = await maintain(client, Number(args["months-ahead"]), Number(args["batch-size"]), output);
      output.json(report);
      output.text(describe(report));
    });
  },
});

async function refuseEarlierPhase(client: Client, stack: string): Promise<void> {
  const { rows } = await client.query(
    "select to_regprocedure('maintenance.run(integer, integer)') is not null as present",
  );
  if (rows[0].present) return;
  throw new StateError(`Stack "${stack}" has no maintenance yet.`, [
    {
      subject: "rolloutPhase",
      problem: "its functions come with phase 4",
      remedy: "Set rolloutPhase to 4 and run `up`.",
    },
  ]);
}

async function maintain(client: Client, monthsAhead: number, batchSize: number, output: Output): Promise<Report> {
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<[T, number]> => {
    output.progress(what);
    const start = performance.now();
    const value = await work();
    return [value, Math.round(performance.now() - start)];
  };
  const [partitions, partitionsMs] = await timed("partitions", () =>
    client.query("select partition_name, starts_at, moved_rows from maintenance.make_partitions($1)", [monthsAhead]),
  );
  const { rows: clock } = await client.query("select clock_timestamp() as started");
  // A procedure that commits per batch, so it cannot stand in a query with parameters of its own transaction.
  const [, retentionMs] = await timed("retention", () =>
    client.query(`call maintenance.apply_retention(${Math.trunc(batchSize)})`),
  );
  const retention = await client.query(
    `select table_name, retention_action, records_affected, execution_status, error_message
       from audit.data_retention_logs where executed_at >= $1 order by executed_at`,
    [clock[0].started],
  );
  const [views, viewsMs] = await timed("materialized views", () =>
    client.query("select view_name, duration_ms from maintenance.refresh_views()"),
  );
  return {
    partitions: partitions.rows,
    retention: retention.rows,
    views: views.rows,
    durationMs: { partitions: partitionsMs, retention: retentionMs, views: viewsMs },
  };
}

function describe({ partitions, retention, views, durationMs }: Report): string {
  const failed = retention.filter(({ execution_status }) => execution_status !== "SUCCESS");
  return [
    `partitions  ${partitions.length} made (${durationMs.partitions} ms)`,
    ...partitions.map(({ partition_name }) => `            ${partition_name}`),
    `retention   ${retention.reduce((sum, { records_affected }) => sum + records_affected, 0)} rows by ${retention.length} policies, ${failed.length} not wholly done (${durationMs.retention} ms)`,
    ...failed.map(
      ({ table_name, execution_status, error_message }) =>
        `            ${table_name}: ${execution_status} ${error_message ?? ""}`,
    ),
    `views       ${views.length} refreshed (${durationMs.views} ms)`,
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
