import { setTimeout as sleep } from "node:timers/promises";
import type Docker from "dockerode";
import { openSession, readOutputs } from "../stack/session.ts";
import { readMigrations } from "../migrate/chain/files.ts";
import { engineNames } from "../infra/settings/names.ts";
import { ROLES } from "../database/access/roles.ts";
import { archive, type FileSpec } from "../toolchain/engine/archives.ts";
import { engine, exec } from "../toolchain/engine/containers.ts";
import { readCurrent } from "../infra/provider/volumes/versions.ts";
import { scramSecret } from "../database/scram.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { aiwdb } from "./command.ts";
import { inTurns, timed, type Benchmark } from "./measure.ts";

const STACK = "pr-bench";

/** A container of the stack, with what is needed to make it again without Pulumi. */
interface Recipe {
  readonly name: string;
  readonly inspected: Docker.ContainerInspectInfo;
  readonly configVolume: string;
  readonly configFolder: string;
  readonly uid: number;
  readonly files: Record<string, FileSpec>;
}

async function recipe(
  docker: Docker,
  name: string,
  configVolume: string,
  configFolder: string,
  uid: number,
): Promise<Recipe> {
  const contents = await readCurrent(docker.getContainer(name), configFolder);
  const files = Object.fromEntries(Object.entries(contents).map(([file, content]) => [file, { content, mode: 0o600 }]));
  return { name, inspected: await docker.getContainer(name).inspect(), configVolume, configFolder, uid, files };
}

async function start(
  docker: Docker,
  { name, inspected, configVolume, configFolder, uid, files }: Recipe,
): Promise<void> {
  await docker.createVolume({ Name: configVolume });
  const helper = await docker.createContainer({
    Image: inspected.Config.Image,
    Entrypoint: ["true"],
    HostConfig: { Binds: [`${configVolume}:${configFolder}`] },
  });
  await helper.putArchive(archive(files, uid), { path: configFolder });
  await helper.remove({ v: true });
  const endpoint = Object.entries(inspected.NetworkSettings.Networks).map(([network, { IPAMConfig, Aliases }]) => [
    network,
    { IPAMConfig, Aliases },
  ]);
  const container = await docker.createContainer({
    name,
    Image: inspected.Config.Image,
    Hostname: inspected.Config.Hostname,
    ExposedPorts: inspected.Config.ExposedPorts,
    Healthcheck: inspected.Config.Healthcheck,
    HostConfig: inspected.HostConfig,
    NetworkingConfig: { EndpointsConfig: Object.fromEntries(endpoint) },
  } as Docker.ContainerCreateOptions);
  await container.start();
}

async function healthy(docker: Docker, { name }: Recipe): Promise<void> {
  while ((await exec(docker, name, ["healthcheck"])).exitCode !== 0) await sleep(50);
}

export default {
  question:
    "How long does `aiwdb up` take from no stack, with toolchain and images present, against the same two containers (images, files, limits) " +
    "straight over the Engine API till healthy, and the same roles, database and migrations by psql?",
  async run(report) {
    const docker = engine();
    const names = engineNames(STACK);
    const sql = readMigrations(`${PACKAGE_ROOT}/migrations`)
      .map(({ up }) => up)
      .join("\n");
    let recipes: Recipe[] = [];
    let network: Docker.NetworkInspectInfo | undefined;
    let bootstrap = "";

    const down = () => aiwdb(["down", "--stack", STACK]);
    const ours = async () => {
      const time = await timed(() => aiwdb(["up", "--stack", STACK]));
      if (!network) {
        recipes = [
          await recipe(docker, names.postgres, names.postgresConfigVolume, "/etc/postgresql", 999),
          await recipe(docker, names.pgbouncer, names.pgbouncerConfigVolume, "/etc/pgbouncer", 998),
        ];
        network = (await docker.getNetwork(names.network).inspect()) as Docker.NetworkInspectInfo;
        const session = openSession(STACK, {
          pulumi: { bin: "pulumi", version: "", way: "found", path: [] },
          env: process.env,
        });
        const { connections, passwords } = await readOutputs(session);
        bootstrap = [
          ...[ROLES.owner, ROLES.app, ROLES.readonly, ROLES.monitor, ROLES.pooler].map(
            (role) => `create role ${role} login password '${scramSecret(passwords[role] ?? "")}';`,
          ),
          `create database ${connections.database} owner ${ROLES.owner} template template0;`,
          `\\c ${connections.database}`,
          "create extension pg_stat_statements;",
          `set role ${ROLES.owner};`,
          "begin;",
        ].join("\n");
      }
      await down();
      return time;
    };
    const floor = async () => {
      const time = await timed(async () => {
        await docker.createNetwork({
          Name: names.network,
          Driver: "bridge",
          IPAM: network?.IPAM as Docker.NetworkCreateOptions["IPAM"] & object,
        });
        await docker.createVolume({ Name: names.dataVolume });
        await Promise.all(recipes.map((one) => start(docker, one)));
        await Promise.all(recipes.map((one) => healthy(docker, one)));
        const psql = [
          "psql",
          "-X",
          "-q",
          "-v",
          "ON_ERROR_STOP=1",
          "-o",
          "/dev/null",
          "-U",
          "postgres",
          "-d",
          "postgres",
          "-f",
          "-",
        ];
        const { exitCode, stderr } = await exec(docker, names.postgres, psql, `${bootstrap}\n${sql}\ncommit;\n`);
        if (exitCode !== 0) throw new Error(`psql: ${stderr.slice(-1_000)}`);
      });
      for (const { name } of recipes) await docker.getContainer(name).remove({ force: true, v: true });
      for (const name of [names.dataVolume, names.postgresConfigVolume, names.pgbouncerConfigVolume])
        await docker.getVolume(name).remove();
      await docker.getNetwork(names.network).remove();
      return time;
    };

    await down().catch(() => {}); // an earlier run left nothing
    report("bringing the stack up once, for the floor's files");
    await ours();
    report("measuring");
    const samples = await inTurns(floor, ours);
    return {
      rows: [{ name: "up from no stack", unit: "ms", ...samples, target: { atMost: 2.5 } }],
      notes: [
        "The floor makes no certificates, keeps no state, has no maintenance container and checks nothing at its end.",
      ],
    };
  },
} satisfies Benchmark;
