// What does regular maintenance cost on a database with history? It has 10,000 users and a million log rows over
// fourteen months. Each step is measured through `aiwdb`, as an operator runs it, and as the statement alone.
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { fillVolume } from "../test/helpers/fill-volume.ts";

const STACK = "pr-bench-maintenance";
const VOLUME = { users: 10_000, logRows: 1_000_000, months: 14 };
const MB = 1024 * 1024;

const execute = promisify(execFile);

async function aiwdb(...args: string[]): Promise<{ stdout: string; ms: number }> {
  const start = performance.now();
  const { stdout } = await execute(path.join(PACKAGE_ROOT, "bin/aiwdb"), [...args, "--stack", STACK], {
    maxBuffer: 512 * MB,
  });
  return { stdout, ms: performance.now() - start };
}

async function asOwner<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: (await aiwdb("url", "--role", "ai_workflow_owner")).stdout.trim() });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

interface Row {
  readonly step: string;
  readonly commandMs: number | undefined;
  readonly statementMs: number;
}

async function measure(): Promise<Row[]> {
  const fill = await asOwner((client) => timed(() => fillVolume(client, VOLUME)));
  const first = await aiwdb("maintain", "--json");
  const { durationMs } = JSON.parse(first.stdout) as {
    durationMs: Record<"partitions" | "retention" | "views", number>;
  };
  const second = await aiwdb("maintain", "--json");
  const again = (JSON.parse(second.stdout) as { durationMs: Record<string, number> }).durationMs;
  const exported = await aiwdb("privacy", "export", "--user", "42");
  const exportStatement = await asOwner((client) => timed(() => client.query("select privacy.export_user(43)")));
  const erased = await aiwdb("privacy", "erase", "--user", "42", "--yes");
  const eraseStatement = await asOwner((client) => timed(() => client.query("select privacy.erase_user(43)")));
  const pseudonymised = await aiwdb("privacy", "pseudonymise", "--user", "44", "--yes");
  const pseudonymiseStatement = await asOwner((client) =>
    timed(() => client.query("select privacy.pseudonymise_user(45)")),
  );
  return [
    { step: "fill: 10,000 users, 1,000,000 log rows", commandMs: undefined, statementMs: fill },
    {
      step: "partition rollover, all rows in default partitions before",
      commandMs: first.ms,
      statementMs: durationMs.partitions,
    },
    { step: "retention, first time", commandMs: first.ms, statementMs: durationMs.retention },
    { step: "refresh of the materialized views", commandMs: first.ms, statementMs: durationMs.views },
    {
      step: "all three at rest",
      commandMs: second.ms,
      statementMs: Object.values(again).reduce((sum, ms) => sum + ms, 0),
    },
    { step: "export of one user", commandMs: exported.ms, statementMs: exportStatement },
    { step: "erasure of one user", commandMs: erased.ms, statementMs: eraseStatement },
    { step: "pseudonymisation of one user", commandMs: pseudonymised.ms, statementMs: pseudonymiseStatement },
  ];
}

function report(rows: readonly Row[]): string {
  const seconds = (ms: number | undefined) => (ms === undefined ? "" : (ms / 1_000).toFixed(2));
  const machine = `${cpus().length} CPUs, ${Math.round(totalmem() / 1024 / MB)} GiB; PostgreSQL in a container with 2 CPUs and 2 GiB, durable settings`;
  return [
    "# Maintenance and privacy on a million log rows",
    "",
    `${new Date().toISOString().slice(0, 10)}, ${machine}. One run; seconds. "Command" is the whole of \`aiwdb …\`, "statement" the database's part.`,
    "",
    "| Step | Command | Statement |",
    "| --- | --: | --: |",
    ...rows.map(({ step, commandMs, statementMs }) => `| ${step} | ${seconds(commandMs)} | ${seconds(statementMs)} |`),
    "",
  ].join("\n");
}

const settings = path.join(PACKAGE_ROOT, `Pulumi.${STACK}.yaml`);
const prefix = "ai-workflow-database:";
writeFileSync(
  settings,
  `config:\n  ${prefix}postgresMemoryMiB: 2048\n  ${prefix}postgresCpus: 2\n  ${prefix}maintenanceIntervalMin: 0\n`,
);
try {
  await aiwdb("up");
  const text = report(await measure());
  process.stdout.write(text);
  const folder = path.join(PACKAGE_ROOT, "bench", "results");
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, `${new Date().toISOString().slice(0, 10)}-maintenance.md`), text);
} finally {
  await aiwdb("down");
  rmSync(settings, { force: true });
}
