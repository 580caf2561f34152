import { until } from "../../base/retry.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import { readServer, type TestServer } from "../../testing/description/server.ts";
import { timed } from "../measure.ts";
import { aiwdb, libpqOf, migrations, NAME, psqlWith, run } from "./place.ts";
import { compare, quick, say, section, spread, TIMES } from "./report.ts";

const firstDatabase = async (engine: string) => {
  const all: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    if (round > 0) await aiwdb("testdb", "stop");
    const create = async () => {
      await aiwdb("testdb", "start", "--engine", engine);
      await aiwdb("testdb", "create", "--ttl", "5");
    };
    all.push(await timed(create));
  }
  return all;
};
const ROUNDS = quick ? 1 : 3;

/** What testcontainers does: a container of the same image and settings, then the schema by psql, without TLS. */
const plainDocker = async () => {
  const name = `aiwdb-${NAME}-plain`;
  const cluster = "/var/lib/postgresql/data/plain";
  const settings =
    "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c shared_preload_libraries=pg_stat_statements -c listen_addresses=*";
  const script = `initdb -D ${cluster} -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 >/dev/null && echo 'host all all all trust' >> ${cluster}/pg_hba.conf && exec postgres -D ${cluster} ${settings}`;
  const roles = ["ai_workflow_owner", "app_user", "app_readonly", "app_monitor", "pgbouncer", "pgbouncer_lookup"];
  await run("docker", ["network", "create", name]); // an engine may have no default one
  const start = async () => {
    const tmpfs = "/var/lib/postgresql/data:uid=999,gid=999,mode=0700";
    const options = `--name ${name} --network ${name} --tmpfs ${tmpfs} --publish 127.0.0.1::5432 --entrypoint sh`;
    await run("docker", ["run", "--detach", ...options.split(" "), imageTag("postgres"), "-c", script]);
    const { stdout } = await run("docker", ["port", name, "5432"]);
    const port = stdout.trim().split(":").pop() ?? "";
    const psql = psqlWith({ ...process.env, PGHOST: "127.0.0.1", PGPORT: port, PGUSER: "postgres" });
    const isUp = () => psql("-c", "select 1").catch(() => undefined);
    if (!(await until(isUp, { deadlineMs: 60_000, everyMs: 50 }))) throw new Error(`${name} does not answer`);
    await psql("-c", roles.map((role) => `create role ${role} login`).join("; "));
    await psql("-c", "create database ai_workflow_db owner ai_workflow_owner");
    await psql("-d", "ai_workflow_db", ...migrations);
  };
  try {
    return await timed(start);
  } finally {
    await run("docker", ["rm", "--force", "--volumes", name]);
    await run("docker", ["network", "rm", name]);
  }
};

/** Measures starting everything. The server of the last round goes on running. */
export async function measureStart(): Promise<TestServer> {
  section("Start to the first database", ...TIMES);
  const plain: number[] = [];
  if (process.env["DOCKER_HOST"]) {
    const containers = await firstDatabase("container");
    await aiwdb("testdb", "stop");
    for (let round = 0; round < ROUNDS; round++) plain.push(await plainDocker());
    say(
      `| \`aiwdb testdb start --engine container\` and \`create\`, two processes, images present | ${spread(containers)} |`,
    );
    say(
      `| \`docker run\` of the same image, relaxed settings, data on tmpfs, psql of the schema; no TLS, no pooler | ${spread(plain)} |`,
    );
    compare("start to the first database, containers, against docker run and psql", plain, containers);
  } else {
    say("| engine container and `docker run` | not measured: no engine in DOCKER_HOST | | | |");
  }
  const starts = await firstDatabase("local");
  say(`| \`aiwdb testdb start --engine local\` and \`create\`, two processes | ${spread(starts)} |`);
  const name = "start to the first database, engine local, against docker run and psql";
  if (plain.length > 0) compare(name, plain, starts, { atMost: 1 });

  const server = readServer(NAME);
  const psql = psqlWith(libpqOf(server));
  const floors: number[] = [];
  for (let round = 0; round < 3; round++) {
    await psql("-d", "postgres", "-c", "create database bare template template0");
    floors.push(await timed(() => psql("-1", "-d", "bare", ...migrations)));
    await psql("-d", "postgres", "-c", "drop database bare");
  }
  say(`| psql of all migrations into an empty database, server running | ${spread(floors)} |`);
  return server;
}
