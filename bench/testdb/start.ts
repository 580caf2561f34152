import { setTimeout as wait } from "node:timers/promises";
import { imageTag } from "../../toolchain/images/tag.ts";
import { readServer, type TestServer } from "../../testing/description/server.ts";
import { timed } from "../measure.ts";
import { aiwdb, libpqOf, migrations, NAME, run } from "./place.ts";
import { head, quick, rows, say, spread } from "./report.ts";

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

/** What testcontainers does: a container of the same image and settings, then the schema by psql, without TLS. */
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
    await run("psql", ["-qXd", "ai_workflow_db", ...migrations], {
      env,
      maxBuffer: 1e8,
    });
  });
  await run("docker", ["rm", "--force", "--volumes", name]);
  await run("docker", ["network", "rm", name]);
  return time;
};

/** Measures starting everything. The server of the last round goes on running. */
export async function measureStart(): Promise<TestServer> {
  say();
  say("## Start to the first database");
  say();
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
  const starts = await firstDatabase("local", quick ? 1 : 3);
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
  const libpq = libpqOf(server);
  const floors: number[] = [];
  for (let round = 0; round < 3; round++) {
    await run("psql", ["-qXd", "postgres", "-c", `create database bare${round} template template0`], { env: libpq });
    floors.push(
      await timed(() =>
        run("psql", ["-qX1d", `bare${round}`, ...migrations], { env: libpq, maxBuffer: 1e8 }).catch(() => {}),
      ),
    );
    await run("psql", ["-qXd", "postgres", "-c", `drop database bare${round}`], { env: libpq });
  }
  say(`| psql of all migrations into an empty database, server running | ${spread(floors)} |`);
  return server;
}
