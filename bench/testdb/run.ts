import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { createClone, dropClone } from "../../testing/pool/clones.ts";
import { readLocalRecord } from "../../testing/server/local.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import type { Row } from "../measure.ts";
import { listDatabases } from "../../testing/databases/by-name.ts";
import { openRegistry } from "../../testing/pool/registry.ts";
import { adminConfig, readServer, SERVER_VARIABLE } from "../../testing/description/server.ts";
import { ensureTemplate, readSource } from "../../testing/pool/template.ts";
import { closeTestDatabases, testDatabase } from "../../testing/databases/test-database.ts";

/**
 * Test databases against bare statements, `docker run` and pgtestdb, in one run. `npm run bench -- testdb`, or by itself with
 * an engine in DOCKER_HOST: `node bench/testdb/run.ts` prints Markdown; `--write` puts it into bench/results. Memory and
 * disk are watched over 2,000 databases, with `--long` over 10,000. `--report FILE` writes ratios and text as JSON.
 */

const run = promisify(execFile);
const ROOT = path.join(import.meta.dirname, "../..");
const MAIN = path.join(ROOT, "cli/main.ts");
const NAME = `ci-bench${process.pid}`;
const long = process.argv.includes("--long");
/** `--quick`: a tenth of everything, to see that it works; its figures are worth nothing. */
const quick = process.argv.includes("--quick");
const some = (count: number) => (quick ? Math.ceil(count / 10) : count);
const rows: Row[] = [];

const home = mkdtempSync(path.join(tmpdir(), "aiwdb-bench-"));
process.env["XDG_DATA_HOME"] = path.join(home, "data");
process.env["XDG_STATE_HOME"] = path.join(home, "state");
process.env[SERVER_VARIABLE] = NAME;
const aiwdb = (...args: string[]) => run(process.execPath, [MAIN, ...args]);

const lines: string[] = [];
const say = (line = "") => {
  lines.push(line);
  process.stdout.write(`${line}\n`);
};
const quantile = (times: readonly number[], q: number) =>
  times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * q))] ?? Number.NaN;
const ms = (time: number) => time.toFixed(time < 10 ? 2 : 1);
const spread = (times: readonly number[]) =>
  `${ms(quantile(times, 0))} | ${ms(quantile(times, 0.5))} | ${ms(quantile(times, 0.95))} | ${ms(quantile(times, 0.99))}`;
const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};
const head = (...columns: string[]) => {
  say(`| ${columns.join(" | ")} |`);
  say(`|${columns.map(() => "---|").join("")}`);
};

say(`# Test databases, ${new Date().toISOString().slice(0, 10)}`);
say();
say(
  `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, Node ${process.version}, shared machine, load at the start ${loadavg()[0]?.toFixed(1)}.`,
);
say(
  "PostgreSQL 16 with the settings of the profile ci, data in memory, mTLS and SCRAM on every connection, over loopback. Milliseconds.",
);
say("Ratios count; absolute figures move with the machine's load. The server and all takers share the cores.");

// Start of everything.
say();
say("## Start to the first database");
say();
const starts: number[] = [];
const floors: number[] = [];
const migrations = readdirSync(path.join(ROOT, "migrations"))
  .filter((file) => file.endsWith(".up.sql"))
  .sort();
const firstDatabase = async (engine: string, rounds: number) => {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round > 0) await aiwdb("testdb", "stop");
    times.push(
      await timed(async () => {
        await aiwdb("testdb", "start", "--engine", engine);
        await aiwdb("testdb", "create", "--ttl", "5");
      }),
    );
  }
  return times;
};

/** What testcontainers does: a container of the same image with the same relaxed settings, then the schema by psql. No TLS. */
const plainDocker = async () => {
  const name = `aiwdb-${NAME}-plain`;
  const cluster = "/var/lib/postgresql/data/plain";
  const settings =
    "fsync=off synchronous_commit=off full_page_writes=off shared_preload_libraries=pg_stat_statements listen_addresses=*"
      .split(" ")
      .map((setting) => `-c ${setting}`)
      .join(" ");
  const script = `initdb -D ${cluster} -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 >/dev/null && echo 'host all all all trust' >> ${cluster}/pg_hba.conf && exec postgres -D ${cluster} ${settings}`;
  const roles = ["ai_workflow_owner", "app_user", "app_readonly", "app_monitor", "pgbouncer", "pgbouncer_lookup"];
  await run("docker", ["network", "create", name]); // an engine may have no default one
  const time = await timed(async () => {
    const tmpfs = "/var/lib/postgresql/data:uid=999,gid=999,mode=0700";
    const options =
      `run --detach --name ${name} --network ${name} --tmpfs ${tmpfs} --publish 127.0.0.1::5432 --entrypoint sh`.split(
        " ",
      );
    await run("docker", [...options, imageTag("postgres"), "-c", script]);
    const { stdout } = await run("docker", ["port", name, "5432"]);
    const env = {
      ...process.env,
      PGHOST: "127.0.0.1",
      PGPORT: stdout.trim().split(":").pop() ?? "",
      PGUSER: "postgres",
    };
    while (
      !(await run("psql", ["-qXc", "select 1"], { env }).then(
        () => true,
        () => false,
      ))
    )
      await wait(50);
    await run("psql", ["-qXc", roles.map((role) => `create role ${role} login`).join("; ")], { env });
    await run("psql", ["-qXc", "create database ai_workflow_db owner ai_workflow_owner"], { env });
    await run(
      "psql",
      ["-qXd", "ai_workflow_db", ...migrations.flatMap((file) => ["-f", path.join(ROOT, "migrations", file)])],
      {
        env,
        maxBuffer: 1e8,
      },
    );
  });
  await run("docker", ["rm", "--force", "--volumes", name]);
  await run("docker", ["network", "rm", name]);
  return time;
};

head("what", "min", "median", "p95", "p99");
const plain: number[] = [];
if (process.env["DOCKER_HOST"]) {
  const containers = await firstDatabase("container", quick ? 1 : 3);
  await aiwdb("testdb", "stop");
  for (let round = 0; round < (quick ? 1 : 3); round++) plain.push(await plainDocker());
  say(
    `| \`aiwdb testdb start --engine container\` and \`create\`, two processes, images present | ${spread(containers)} |`,
  );
  say(
    `| \`docker run\` of the same image, relaxed settings, data on tmpfs, psql of the schema; no TLS, no pooler | ${spread(plain)} |`,
  );
  rows.push({
    name: "start to the first database, containers, against docker run and psql",
    unit: "ms",
    floor: plain,
    ours: containers,
  });
} else {
  say("| engine container and `docker run` | not measured: no engine in DOCKER_HOST | | | |");
}
starts.push(...(await firstDatabase("local", quick ? 1 : 3)));
say(`| \`aiwdb testdb start --engine local\` and \`create\`, two processes | ${spread(starts)} |`);
if (plain.length > 0)
  rows.push({
    name: "start to the first database, engine local, against docker run and psql",
    unit: "ms",
    floor: plain,
    ours: starts,
    target: { atMost: 1 },
  });

const server = readServer(NAME);
const superuser = server.roles.postgres;
const libpq = {
  ...process.env,
  PGHOST: server.direct.host,
  PGPORT: String(server.direct.port),
  PGUSER: "postgres",
  PGPASSWORD: superuser.password,
  PGSSLMODE: "verify-full",
  PGSSLROOTCERT: superuser.sslRootCert,
  PGSSLCERT: superuser.sslCert,
  PGSSLKEY: superuser.sslKey,
  MIGRATIONS: path.join(ROOT, "migrations"),
};
for (let round = 0; round < 3; round++) {
  await run("psql", ["-qXd", "postgres", "-c", `create database bare${round} template template0`], { env: libpq });
  floors.push(
    await timed(() =>
      run(
        "psql",
        ["-qX1d", `bare${round}`, ...migrations.flatMap((file) => ["-f", path.join(ROOT, "migrations", file)])],
        { env: libpq, maxBuffer: 1e8 },
      ).catch(() => {}),
    ),
  );
  await run("psql", ["-qXd", "postgres", "-c", `drop database bare${round}`], { env: libpq });
}
say(`| psql of all migrations into an empty database, server running | ${spread(floors)} |`);

// Warm pool.
say();
say("## From the warm pool");
say();
const registry = await openRegistry(server);
const template = await ensureTemplate(registry, readSource(server, {}));
const warm = async (atLeast: number) => {
  for (;;) {
    const ready = (await listDatabases(NAME)).filter(({ state }) => state === "ready").length;
    if (ready >= atLeast) return;
    await wait(10);
  }
};
const takes: number[] = [];
const opens: number[] = [];
const handedOpen: number[] = [];
const queries: number[] = [];
const drops: number[] = [];
await (await testDatabase()).drop();
for (let count = 0; count < some(200); count++) {
  if (count % 3 === 0) await warm(4);
  const start = performance.now();
  const db = await testDatabase();
  takes.push(performance.now() - start);
  const client = await db.connect();
  opens.push(performance.now() - start);
  await client.query("select count(*) from users");
  queries.push(performance.now() - start);
  drops.push(await timed(() => db.drop()));
}
for (let count = 0; count < some(200); count++) {
  const start = performance.now();
  const db = await testDatabase({ connect: true });
  handedOpen.push(performance.now() - start);
  await db.client?.query("select count(*) from users");
  await wait(20); // a short test; the next one's connection is opened meanwhile
  await db.drop();
}
head("what", "min", "median", "p95", "p99");
say(`| ready database (\`testDatabase()\`) | ${spread(takes)} |`);
say(`| the same with an open mTLS connection | ${spread(opens)} |`);
say(`| handed out with an open connection (\`connect\`), tests of 20 ms one after the other | ${spread(handedOpen)} |`);
say(`| the same with a first query | ${spread(queries)} |`);
say(`| given back | ${spread(drops)} |`);
say(`| IntegreSQL, published (not measured here: not to be had from a registry) | | 0 wait, 70 with reconnect | 1 | |`);

// Cold.
say();
say("## Cold clone against the bare statement, alternating, no pool at work");
say();
execFileSync("kill", [
  String(
    (
      JSON.parse(readFileSync(path.join(home, "data/ai-workflow-database/stacks", NAME, "testdb.pid"), "utf8")) as {
        pid: number;
      }
    ).pid,
  ),
]);
await wait(1_500);
const bareClient = new pg.Client(adminConfig(server, "postgres"));
await bareClient.connect();
const bare: number[] = [];
const bareDrop: number[] = [];
const cold: number[] = [];
const coldDrop: number[] = [];
const walLog: number[] = [];
for (let count = 0; count < some(40); count++) {
  bare.push(
    await timed(() => bareClient.query(`create database bare template ${template.database} strategy file_copy`)),
  );
  bareDrop.push(await timed(() => bareClient.query("drop database bare")));
  let name = "";
  cold.push(await timed(async () => (name = await createClone(registry, template, { label: "", run: "" }))));
  coldDrop.push(await timed(() => dropClone(registry, name)));
  walLog.push(
    await timed(() => bareClient.query(`create database bare template ${template.database} strategy wal_log`)),
  );
  await bareClient.query("drop database bare");
}
head("what", "min", "median", "p95", "p99");
say(`| bare CREATE DATABASE, FILE_COPY | ${spread(bare)} |`);
say(`| cold clone, registered and with rights | ${spread(cold)} |`);
say(`| bare CREATE DATABASE, WAL_LOG | ${spread(walLog)} |`);
say(`| bare DROP DATABASE | ${spread(bareDrop)} |`);
say(`| drop of a clone | ${spread(coldDrop)} |`);
rows.push({
  name: "cold clone against the bare CREATE DATABASE",
  unit: "ms",
  floor: bare,
  ours: cold,
  target: { atMost: 1.1 },
});
const resets: number[] = [];
const anew: number[] = [];
const used = await testDatabase({ connect: true });
let current = await createClone(registry, template, { label: "", run: "" });
for (let count = 0; count < some(40); count++) {
  await used.client?.query(
    "insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')",
  );
  resets.push(await timed(() => used.reset()));
  anew.push(
    await timed(async () => {
      await dropClone(registry, current);
      current = await createClone(registry, template, { label: "", run: "" });
    }),
  );
}
await dropClone(registry, current);
await used.drop();
say(`| reset of a database with a new row, its connection kept | ${spread(resets)} |`);
say(`| drop and a new copy instead, without a connection | ${spread(anew)} |`);
rows.push({ name: "reset against drop and a new copy", unit: "ms", floor: anew, ours: resets, target: { atMost: 1 } });
say();
say(`Cold clone to bare statement: ${(quantile(cold, 0.5) / quantile(bare, 0.5)).toFixed(2)} (aim: at most 1.1).`);

// Where CREATE DATABASE spends its time.
say();
say("## Where CREATE DATABASE spends its time");
say();
await bareClient.query("create database small template template0");
const files = async (database: string) =>
  (
    await bareClient.query<{ files: number; bytes: number }>(
      `select count(*)::integer as files, sum((pg_stat_file(folder || '/' || name)).size)::float8 as bytes
       from (select 'base/' || oid as folder from pg_database where datname = $1) as place, pg_ls_dir(folder) as name`,
      [database],
    )
  ).rows[0];
const template0: number[] = [];
const checkpoints: number[] = [];
for (let count = 0; count < some(20); count++) {
  checkpoints.push(await timed(() => bareClient.query("checkpoint")));
  template0.push(await timed(() => bareClient.query("create database bare template small strategy file_copy")));
  await bareClient.query("drop database bare");
}
const [whole, small] = [await files(template.database), await files("small")];
head("what", "min", "median", "p95", "p99");
say(`| CHECKPOINT with nothing to write (the statement makes two) | ${spread(checkpoints)} |`);
say(
  `| CREATE DATABASE of an empty database: ${small?.files} files, ${((small?.bytes ?? 0) / 1024 ** 2).toFixed(1)} MiB | ${spread(template0)} |`,
);
say(
  `| of the template: ${whole?.files} files, ${((whole?.bytes ?? 0) / 1024 ** 2).toFixed(1)} MiB | ${spread(bare)} |`,
);
await bareClient.query("drop database small");

// Parallel takers, against pgtestdb.
say();
say("## Parallel takers: time per database with its first query, clean-up aside");
say();
const ours = new Map<string, number[]>();
const parallel = async (label: string, takers: number, total: number) => {
  const times: number[] = [];
  await Promise.all(
    Array.from({ length: takers }, async () => {
      for (let count = 0; count < Math.max(2, total / takers); count++) {
        const start = performance.now();
        const db = await testDatabase();
        const client = await db.connect();
        await client.query("select count(*) from users");
        times.push(performance.now() - start);
        await db.drop();
      }
    }),
  );
  ours.set(`${label} ${takers}`, times);
};
for (const takers of [1, 8, 32]) await parallel("cold", takers, some(64));
await aiwdb("testdb", "start");
for (const takers of [1, 8, 32]) {
  await warm(4);
  await parallel("pool", takers, some(64));
}
const theirs = new Map<number, number[]>();
try {
  const { stdout } = await run("go", ["test", "-count=1", "-v", "-run", "TestTimes", "."], {
    cwd: path.join(import.meta.dirname, "pgtestdb"),
    env: libpq,
    maxBuffer: 1e8,
  });
  for (const [, json] of stdout.matchAll(/RESULT (.*)/g)) {
    const { takers, times } = JSON.parse(json ?? "") as { takers: number; times: number[] };
    theirs.set(takers, times);
  }
} catch (error) {
  say(
    `pgtestdb could not be run: ${(error as { stdout?: string; message: string }).stdout?.slice(-500) ?? (error as Error).message}`,
  );
}
head(
  "takers",
  "cold: median, p95",
  "pool: median, p95",
  "pgtestdb 0.1.1: median, p95",
  "cold to pgtestdb",
  "pool to pgtestdb",
);
for (const takers of [1, 8, 32]) {
  const [coldTimes, poolTimes, other] = [
    ours.get(`cold ${takers}`) ?? [],
    ours.get(`pool ${takers}`) ?? [],
    theirs.get(takers) ?? [],
  ];
  if (other.length > 0)
    rows.push({
      name: `cold, ${takers} takers, against pgtestdb`,
      unit: "ms",
      floor: other,
      ours: coldTimes,
      target: { atMost: 0.4 },
    });
  const two = (times: number[]) => `${ms(quantile(times, 0.5))}, ${ms(quantile(times, 0.95))}`;
  const ratio = (times: number[]) => (quantile(times, 0.5) / quantile(other, 0.5)).toFixed(2);
  say(
    `| ${takers} | ${two(coldTimes)} | ${two(poolTimes)} | ${two(other)} | ${ratio(coldTimes)} | ${ratio(poolTimes)} |`,
  );
}

// Throughput.
say();
say("## 1,000 databases, 32 workers");
say();
const workers = 32;
const each = async (total: number, work: () => Promise<void>) => {
  let left = total;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (left-- > 0) await work();
    }),
  );
  return total / ((performance.now() - start) / 1_000);
};
const settled = async () => {
  while (
    (await listDatabases(NAME)).some(
      ({ state }) => state === "returned" || state === "dropping" || state === "creating",
    )
  )
    await wait(20);
};
const memory = () => {
  const [fs, pid] = [
    statfsSync("/dev/shm"),
    Number(readFileSync(path.join(readLocalRecord(NAME)?.folder ?? "", "data/postmaster.pid"), "utf8").split("\n")[0]),
  ];
  const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return {
    diskMiB: ((fs.blocks - fs.bfree) * fs.bsize) / 1024 ** 2,
    serverMiB: Number(rss) / 1024,
    takerMiB: process.memoryUsage().rss / 1024 ** 2,
  };
};
const takeAndReturn = async () => {
  const db = await testDatabase();
  await db.drop();
};
const mine = await each(some(1_000), takeAndReturn);
await settled();
const pool = new pg.Pool({ ...adminConfig(server, "postgres"), max: workers });
let number = 0;
const bareRate = await each(some(1_000), async () => {
  const name = `bare_${(number += 1)}`;
  await pool.query(`create database ${name} template ${template.database} strategy file_copy`);
  await pool.query(`drop database ${name}`);
});
await pool.end();
head("what", "databases per second");
say(`| taken and returned | ${mine.toFixed(1)} |`);
say(`| bare CREATE and DROP, as many connections | ${bareRate.toFixed(1)} |`);
say(`| ratio | ${(mine / bareRate).toFixed(2)} |`);

rows.push({
  name: "1,000 taken and returned by 32, against bare CREATE and DROP",
  unit: "per s",
  floor: [bareRate],
  ours: [mine],
  target: { atLeast: 1 },
});

const total = long ? 10_000 : some(2_000);
say();
say(`## Memory and disk over ${total.toLocaleString("en")} databases`);
say();
head("databases", "disk MiB", "server's first process MiB", "taker MiB");
for (let done = 0; done <= total; done += total / 5) {
  if (done > 0) await each(total / 5, takeAndReturn);
  await settled();
  const { diskMiB, serverMiB, takerMiB } = memory();
  say(`| ${done} | ${diskMiB.toFixed(0)} | ${serverMiB.toFixed(0)} | ${takerMiB.toFixed(0)} |`);
}

await bareClient.end();
await registry.close();
await closeTestDatabases();
await aiwdb("testdb", "stop");
rmSync(home, { recursive: true, force: true });
if (process.argv.includes("--write"))
  writeFileSync(
    path.join(ROOT, `bench/results/${new Date().toISOString().slice(0, 10)}-testdb.md`),
    `${lines.join("\n")}\n`,
  );
const report = process.argv[process.argv.indexOf("--report") + 1];
if (process.argv.includes("--report") && report !== undefined)
  writeFileSync(report, JSON.stringify({ rows, text: lines.join("\n") }));
