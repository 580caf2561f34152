import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { connectionFor } from "../stack/connections.ts";
import { onReadyForQuery } from "../base/node-postgres.ts";
import { libpqUrl } from "../database/libpq.ts";
import { effectiveSettings, openSession, readOutputs } from "../stack/session.ts";
import { formatNumber, MIGRATIONS_FOLDER, readMigrations } from "../migrate/chain/files.ts";
import { applyMigrations } from "../migrate/run/runner.ts";
import { engineNames } from "../infra/settings/names.ts";
import { ROLES } from "../database/access/roles.ts";
import { connect, type Connection } from "../database/connection.ts";
import { engine, exec } from "../toolchain/engine/containers.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { aiwdb, run } from "./command.ts";
import { inTurns, median, timed, type Benchmark, type Row } from "./measure.ts";
import { comparePython } from "./python.ts";

const STACK = "pr-bench";
const MANY = 1_000;
const FEW = 100;
const AS_OWNER = `-c role=${ROLES.owner}`;

/** Writes migrations of one small table each. */
function writeSmall(folder: string, count: number): void {
  for (let number = 1; number <= count; number++) {
    const name = `${formatNumber(number)}_create_small_${number}`;
    const table = `public.small_${number}`;
    const up = `-- Why: one of many.\n-- Phase: 1\ncreate table ${table} (id bigint generated always as identity primary key, note text not null);\n`;
    writeFileSync(join(folder, `${name}.up.sql`), up);
    writeFileSync(join(folder, `${name}.down.sql`), `-- Data loss: the rows of ${table}.\ndrop table ${table};\n`);
  }
}

/** A copy of the checkout with other migrations. */
function copyOfCheckout(folder: string, count: number): string {
  const root = join(folder, `checkout-${count}`);
  for (const part of [
    "base",
    "bin",
    "certs",
    "cli",
    "database",
    "infra",
    "migrate",
    "stack",
    "toolchain",
    "package.json",
    "package-lock.json",
    "Pulumi.yaml",
  ]) {
    cpSync(join(PACKAGE_ROOT, part), join(root, part), { recursive: true });
  }
  symlinkSync(join(PACKAGE_ROOT, "node_modules"), join(root, "node_modules"));
  mkdirSync(join(root, "migrations"));
  writeSmall(join(root, "migrations"), count);
  return root;
}

export default {
  question:
    "What does our runner add to the SQL of the migrations: against psql with all of it in one session, against alembic and SQLAlchemy, " +
    "and with a thousand migrations?",
  async run(report) {
    const folder = mkdtempSync(join(tmpdir(), "bench-migrations-"));
    const stacks: [root: string, stack: string][] = [];
    report(`bringing up stack ${STACK}`);
    await aiwdb(["up", "--stack", STACK]);
    try {
      const docker = engine();
      const session = openSession(STACK, {
        pulumi: { bin: "pulumi", version: "", way: "found", path: [] },
        env: process.env,
      });
      const superuser = connectionFor(await readOutputs(session), ROLES.superuser, "direct");
      const container = engineNames(STACK).postgres;
      const admin = await connect(superuser);

      /** A database as a stack's own is before the first migration. */
      const empty = async (name: string): Promise<Connection> => {
        await admin.query(`drop database if exists ${name} with (force)`);
        await admin.query(`create database ${name} owner ${ROLES.owner} template template0`);
        const connection = { ...superuser, database: name };
        const client = await connect(connection);
        await client.query("create extension pg_stat_statements");
        await client.end();
        await admin.query("checkpoint");
        return connection;
      };
      const asOwner = async (connection: Connection): Promise<Client> => {
        const client = await connect(connection);
        await client.query(`set role ${ROLES.owner}`);
        return client;
      };
      const apply = async (client: Client, from: string, line: (text: string) => void = () => {}) =>
        applyMigrations({ client, folder: from, migrations: readMigrations(from), direction: "up", report: line });

      const migrations = readMigrations(MIGRATIONS_FOLDER);
      const sql = `begin;\n${migrations.map(({ up }) => up).join("\n")}\ncommit;\n`;
      const psql = async () => {
        await empty("bench_psql");
        // Timed inside the container, so that the start of a process there does not count.
        const script =
          `cat >/tmp/all.sql; start=$(date +%s%N); PGOPTIONS='${AS_OWNER}' psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -U postgres -d bench_psql -f /tmp/all.sql ` +
          "|| exit 1; echo $((($(date +%s%N) - start) / 1000))";
        const { exitCode, stdout, stderr } = await exec(docker, container, ["sh", "-c", script], sql);
        if (exitCode !== 0) throw new Error(`psql: ${stderr.slice(-1_000)}`);
        return Number(stdout.trim().split("\n").at(-1)) / 1_000;
      };
      let roundTrips = 0;
      const runner = async () => {
        const client = await asOwner(await empty("bench_runner"));
        roundTrips = 0;
        onReadyForQuery(client, () => (roundTrips += 1));
        const time = await timed(() => apply(client, MIGRATIONS_FOLDER));
        await client.end();
        return time;
      };
      const python = async (task: "alembic" | "create_all") => {
        const target = await empty(`bench_${task}`);
        const url = (connection: Connection) =>
          `${libpqUrl(connection).replace("postgresql:", "postgresql+psycopg:")}&options=${encodeURIComponent(AS_OWNER)}`;
        return task === "alembic"
          ? comparePython("alembic", [MIGRATIONS_FOLDER, url(target)])
          : comparePython("create_all", [
              url(target),
              libpqUrl({ ...superuser, database: "bench_runner" }).replace("postgresql:", "postgresql+psycopg:"),
            ]);
      };

      report("measuring: psql and our runner");
      await psql();
      await runner();
      const rows: Row[] = [
        {
          name: `${migrations.length} migrations; floor psql`,
          unit: "ms",
          ...(await inTurns(psql, runner)),
          target: { atMost: 1.3 },
        },
      ];
      const trips = roundTrips;
      report("measuring: alembic and create_all");
      rows.push({
        name: "the same SQL; floor alembic",
        unit: "ms",
        ...(await inTurns(() => python("alembic"), runner)),
      });
      rows.push({
        name: "the tables alone; floor SQLAlchemy create_all",
        unit: "ms",
        ...(await inTurns(() => python("create_all"), runner)),
      });

      report(`measuring: ${MANY} small migrations`);
      const small = join(folder, "small");
      mkdirSync(small);
      writeSmall(small, MANY);
      const first: number[] = [];
      const last: number[] = [];
      for (let round = 0; round < 5; round++) {
        const client = await asOwner(await empty("bench_small"));
        const starts: number[] = [];
        await apply(client, small, (line) => line.startsWith("applying") && starts.push(performance.now()));
        await client.end();
        const hundredth = ([from, to]: readonly [number, number]) =>
          ((starts[to] as number) - (starts[from] as number)) / (to - from);
        first.push(hundredth([0, FEW]));
        last.push(hundredth([MANY - FEW - 1, MANY - 1]));
      }
      rows.push({
        name: `per migration, the last ${FEW} of ${MANY}; floor the first ${FEW}`,
        unit: "ms",
        floor: first,
        ours: last,
        target: { atMost: 1.2 },
      });
      await admin.end();

      const preview = async (count: number) => {
        const root = copyOfCheckout(folder, count);
        const stack = `${STACK}-${count}`;
        report(`bringing up stack ${stack}`);
        await aiwdb(["up", "--stack", stack], root);
        stacks.push([root, stack]);
        const own = openSession(stack, {
          pulumi: { bin: "pulumi", version: "", way: "found", path: [] },
          env: process.env,
        });
        const settings = effectiveSettings(own);
        const args = [
          "preview",
          "--stack",
          stack,
          "--config-file",
          settings,
          "--expect-no-changes",
          "--non-interactive",
        ];
        return () => timed(() => run("pulumi", args, { cwd: root, env: own.env }));
      };
      const [few, many] = [await preview(FEW), await preview(MANY)];
      await few();
      await many();
      report("measuring: previews");
      rows.push({
        name: `preview with ${MANY} applied migrations; floor with ${FEW}`,
        unit: "ms",
        ...(await inTurns(few, many)),
        target: { atMost: 1.3 },
      });
      return {
        rows,
        notes: [
          `Our runner needs ${trips} round trips for ${migrations.length} migrations of ${(sql.length / 1024).toFixed(0)} KiB; psql sends each statement by itself.`,
          `psql talks to the server over its local socket, our runner from outside the container over mTLS. Median of one migration of the ${MANY}: ${median(last).toFixed(2)} ms.`,
          "alembic and create_all are timed without the start of Python and without importing; create_all makes no functions, triggers, views, partitions or rights.",
        ],
      };
    } finally {
      for (const [root, stack] of stacks) await aiwdb(["down", "--stack", stack], root);
      await aiwdb(["down", "--stack", STACK]);
      rmSync(folder, { recursive: true, force: true });
    }
  },
} satisfies Benchmark;
