// The figures of docs/adr/0011-schema-partitions.md: a log partitioned by month against one table with the same columns
// and indexes.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import { connectionFor } from "../stack/connections.ts";
import { openSession, readOutputs } from "../stack/session.ts";
import { ROLES } from "../database/access/roles.ts";
import { connect } from "../database/connection.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { aiwdb } from "./command.ts";
import { timed, type Benchmark, type Row } from "./measure.ts";

const STACK = "pr-bench-partitions";
const LOG = "audit.security_metrics";
const PLAIN = "public.plain_metrics";
const MONTHS = 12;
/** Number of rows: AIWDB_BENCH_ROWS, or ten million. */
const ROWS = Number(process.env["AIWDB_BENCH_ROWS"] ?? 10_000_000);
const USERS = 10_000;
const MIB = 2 ** 20;

type Table = typeof LOG | typeof PLAIN;

async function load(client: Client, table: Table, month: number): Promise<number> {
  return timed(() =>
    client.query(
      `insert into ${table} (metric_name, metric_type, metric_value, user_id, service_name, recorded_at)
       select 'metric_' || n % 50, 'counter', n, n % ${USERS}, 'service_' || n % 5,
         date_trunc('month', now(), 'UTC') - make_interval(months => ${month}) + n * interval '27 days' / ${ROWS / MONTHS}
       from generate_series(1, ${Math.floor(ROWS / MONTHS)}) as n`,
    ),
  );
}

/** Repeats a statement in one DO block, so that the way to the server does not count. */
function repeated(times: number, statement: (table: Table) => string) {
  return (client: Client, table: Table) =>
    timed(() =>
      client.query(`do $$ declare n integer; begin for n in 1..${times} loop ${statement(table)}; end loop; end $$`),
    );
}

const STEPS: readonly [name: string, measure: (client: Client, table: Table) => Promise<number>][] = [
  [
    `${(ROWS / 50).toLocaleString("en")} rows one by one`,
    repeated(
      ROWS / 50,
      (table) =>
        `insert into ${table} (metric_name, metric_type, metric_value, user_id) values ('metric_' || n % 50, 'counter', n, n % ${USERS})`,
    ),
  ],
  [
    "a metric of the last day, 20 times",
    repeated(
      20,
      (table) =>
        `perform avg(metric_value) from ${table} where metric_name = 'metric_' || n and recorded_at > now() - interval '1 day'`,
    ),
  ],
  [
    "a user's latest 20 rows, 200 times",
    repeated(
      200,
      (table) => `perform id from ${table} where user_id = n * 7 % ${USERS} order by recorded_at desc limit 20`,
    ),
  ],
  [
    "sums over this month",
    repeated(
      1,
      (table) =>
        `perform metric_name, sum(metric_value) from ${table} where recorded_at >= date_trunc('month', now(), 'UTC') group by 1`,
    ),
  ],
  [
    "reading by id, 2,000 times",
    repeated(2000, (table) => `perform from ${table} where id = (select gen_random_uuid())`),
  ],
];

async function sizeOf(client: Client, table: Table): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>(
    `select sum(pg_total_relation_size(relid)) as bytes
     from (select relid from pg_partition_tree('${table}') union select '${table}'::regclass) as part`,
  );
  return Number(rows[0]?.bytes) / MIB;
}

/** Removes the oldest month; how long that took and how much WAL it wrote, in MiB. */
async function removeOldest(client: Client, table: Table): Promise<{ ms: number; wal: number }> {
  const { rows: before } = await client.query<{ lsn: string }>("select pg_current_wal_insert_lsn() as lsn");
  const limit = `date_trunc('month', now(), 'UTC') - interval '${MONTHS - 2} months'`;
  const ms = await timed(async () => {
    if (table === LOG) await client.query(`select * from maintenance.drop_partitions('${LOG}', ${limit})`);
    else {
      await client.query(`delete from ${PLAIN} where recorded_at < ${limit}`);
      await client.query(`vacuum ${PLAIN}`);
    }
  });
  const { rows } = await client.query<{ bytes: string }>(
    "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1) as bytes",
    [before[0]?.lsn],
  );
  return { ms, wal: Number(rows[0]?.bytes) / MIB };
}

async function compare(client: Client, report: (line: string) => void): Promise<Row[]> {
  await client.query(`create table ${PLAIN} (like ${LOG} including all)`);
  const loads = { floor: [] as number[], ours: [] as number[] };
  for (let month = MONTHS - 1; month >= 0; month--) {
    report(`loading month ${MONTHS - month} of ${MONTHS}`);
    loads.floor.push(await load(client, PLAIN, month));
    loads.ours.push(await load(client, LOG, month));
  }
  await client.query(`vacuum analyze ${PLAIN}`);
  await client.query(`vacuum analyze ${LOG}`);
  const rows: Row[] = [{ name: `loading a month of ${MONTHS}`, unit: "ms", ...loads }];
  for (const [name, measure] of STEPS) {
    report(name);
    rows.push({ name, unit: "ms", floor: [await measure(client, PLAIN)], ours: [await measure(client, LOG)] });
  }
  report("removing the oldest month");
  const [plain, log] = [await removeOldest(client, PLAIN), await removeOldest(client, LOG)];
  rows.push({ name: "removing the oldest month, with vacuum", unit: "ms", floor: [plain.ms], ours: [log.ms] });
  rows.push({ name: "WAL of the removal", unit: "MiB", floor: [plain.wal], ours: [log.wal] });
  const sizes = { floor: [await sizeOf(client, PLAIN)], ours: [await sizeOf(client, LOG)] };
  return [...rows, { name: "size afterwards", unit: "MiB", ...sizes }];
}

export default {
  question: `What does a log of ${ROWS.toLocaleString("en")} rows gain and lose by its monthly partitions, against one table with the same columns and indexes?`,
  async run(report) {
    const settings = join(PACKAGE_ROOT, `Pulumi.${STACK}.yaml`);
    const prefix = "ai-workflow-database:";
    writeFileSync(
      settings,
      `config:\n  ${prefix}postgresMemoryMiB: 2048\n  ${prefix}postgresCpus: 2\n  ${prefix}maintenanceIntervalMin: 0\n`,
    );
    try {
      report(`bringing up stack ${STACK}`);
      await aiwdb(["up", "--stack", STACK]);
      const session = openSession(STACK, {
        pulumi: { bin: "pulumi", version: "", way: "found", path: [] },
        env: process.env,
      });
      const client = await connect(connectionFor(await readOutputs(session), ROLES.owner, "direct"));
      try {
        // The months are made before the rows, as maintenance makes them.
        await client.query(
          `insert into ${LOG} (metric_name, metric_type, metric_value, recorded_at)
           select 'first', 'counter', 0, now() - make_interval(months => month) from generate_series(0, ${MONTHS - 1}) as month`,
        );
        await client.query(`select * from maintenance.make_partitions(1, '${LOG}')`);
        const rows = await compare(client, report);
        return {
          rows,
          notes: [
            "Floor: the plain table. Each step once, the months of the load aside; so ratios below two say little.",
            "Retention is what partitions are for; reading by id alone looks into every month, which the application does not do.",
          ],
        };
      } finally {
        await client.end();
      }
    } finally {
      await aiwdb(["down", "--stack", STACK]);
      rmSync(settings, { force: true });
    }
  },
} satisfies Benchmark;
