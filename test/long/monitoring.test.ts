import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { installUnless, unpackedPackages } from "../helpers/debian-package.ts";
import { eventually, query, refusal } from "../helpers/connect.ts";
import { type OwnStack, ownStack } from "../helpers/own-stack.ts";

const NAME = `ci-m${process.pid}`;
const PAGE = path.join(import.meta.dirname, "../../docs/monitoring.md");
let stack: OwnStack;
let env: NodeJS.ProcessEnv;
let folder: string;

/** The commands of a section of the page, for this stack. They come to the package and to the programs by PATH. */
function commands(heading: string, index = 0): string {
  const section =
    readFileSync(PAGE, "utf8")
      .split("\n## ")
      .find((each) => each.startsWith(heading)) ?? "";
  const block = [...section.matchAll(/```sh\n([\s\S]*?)```/g)][index]?.[1] ?? "";
  expect(block).toContain("--stack prod");
  return block.replaceAll("npx aiwdb", "bin/aiwdb").replaceAll("--stack prod", `--stack ${NAME}`);
}

beforeAll(async () => {
  stack = await ownStack(NAME);
  folder = mkdtempSync(path.join(tmpdir(), "aiwdb-monitoring-"));
  await installUnless("psql --version", "postgresql-client");
  await installUnless("perl -MStorable -MBenchmark -MTime::Local -e 1", "perl");
  const roots = [
    await unpackedPackages("prometheus-postgres-exporter"),
    await unpackedPackages("check-postgres"),
    await unpackedPackages("pgbadger"),
  ];
  env = {
    PATH: [...roots.map((root) => path.join(root, "usr/bin")), stack.checkout.env["PATH"]].join(path.delimiter),
  };
});

afterAll(async () => {
  await stack?.remove();
  rmSync(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs an exporter and returns the metrics that it has once it is up. */
async function metricsOf(script: string, isUp: string): Promise<string> {
  const port = await freePort();
  const own = script.replace(/(127\.0\.0\.1:)\d+/, `$1${port}`);
  const child = spawn("bash", ["-euc", own], {
    cwd: stack.checkout.root,
    env: { ...stack.checkout.env, ...env },
    stdio: ["ignore", "inherit", "pipe"],
    detached: true, // so that it ends with what it started
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  const ended = once(child, "close");
  try {
    return await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`it ended: ${said}`);
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      expect(metrics, said).toContain(isUp);
      return metrics;
    });
  } finally {
    if (child.exitCode === null) process.kill(-child.pid!, "SIGTERM");
    await ended;
  }
}

test("postgres_exporter reads all it asks for", async () => {
  const metrics = await metricsOf(commands("Prometheus: PostgreSQL"), "\npg_up 1\n");
  expect(metrics).toContain("\npg_exporter_last_scrape_error 0\n");
  expect(metrics).toMatch(/^pg_database_size_bytes\{datname="ai_workflow_db".*\} \d/m);
  expect(metrics).toMatch(/^pg_stat_activity_count\{datname="ai_workflow_db".*\} [1-9]/m);
  expect(metrics).toMatch(/^pg_settings_max_connections\{.*\} \d+/m);
});

test("PgBouncer's console tells its figures", async () => {
  await query("app_user", "transaction", "select 1", stack);
  const { exitCode, stdout } = await stack.checkout.shell(commands("PgBouncer's console"), env);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/ai_workflow_db +\| app_user/);
  expect(stdout).toContain("total_xact_count");
});

test("check_postgres finds everything in order, in PostgreSQL and in PgBouncer", async () => {
  const ok = async (script: string, count: number) => {
    const { exitCode, stdout, stderr } = await stack.checkout.shell(script, env);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toEqual(Array.from({ length: count }, () => expect.stringMatching(/^POSTGRES_\w+ OK: /)));
  };
  await ok(commands("Nagios"), 5);
  await ok(commands("Nagios", 1), 2);
});

test("check_postgres says so when it is not", async () => {
  const script = commands("Nagios").replace("--warning=80% --critical=95%", "--warning=1 --critical=2");
  const { exitCode, stdout } = await stack.checkout.shell(script, env);
  expect([exitCode, stdout]).toEqual([2, expect.stringContaining("POSTGRES_BACKENDS CRITICAL")]);
});

test("pgBadger makes its report", async () => {
  const report = path.join(folder, "report.html");
  const script = commands("Reports").replace("report.html", report);
  expect(await stack.checkout.shell(script, env)).toMatchObject({ exitCode: 0 });
  expect(readFileSync(report, "utf8")).toContain("pgBadger");
});

test("app_monitor has what they need, and nothing more", async () => {
  const as = (mode: "direct" | "transaction", sql: string, database?: string) =>
    refusal(
      query("app_monitor", mode, sql, { outputs: stack.outputs, ...(database === undefined ? {} : { database }) }),
    );
  const denied = await query<{ denied: number; all: number }>(
    "app_monitor",
    "direct",
    `select count(*)::int as all, count(*) filter (where not has_table_privilege(oid, 'select'))::int as denied
     from pg_class where relkind in ('r', 'p', 'v', 'm') and relnamespace = 'public'::regnamespace
       and relname not like 'pg\\_stat\\_statements%'`,
    stack,
  );
  expect(denied[0]?.all).toBeGreaterThan(2);
  expect(denied[0]?.denied).toBe(denied[0]?.all);
  expect(await as("direct", "select * from users")).toMatch(/^42501: /);
  expect(await as("direct", "create temporary table t (a int)")).toMatch(/^42501: /);
  expect(
    await as(
      "direct",
      "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ai_workflow_owner' or true",
    ),
  ).toMatch(/^42501: /);
  expect(await as("direct", "select pg_reload_conf()")).toMatch(/^42501: /);
  expect(await as("direct", "select pg_read_file('pg_hba.conf')")).toMatch(/^42501: /);
  expect(await as("transaction", "pause", "pgbouncer")).toContain("admin access needed");
  const members = await query(
    "app_monitor",
    "direct",
    `select r.rolname::text from pg_auth_members
    join pg_roles r on r.oid = roleid join pg_roles m on m.oid = member where m.rolname = 'app_monitor'`,
    stack,
  );
  expect(members).toEqual([{ rolname: "pg_monitor" }]);
});
