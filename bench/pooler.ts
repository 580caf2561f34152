import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type Docker from "dockerode";
import { openSession, readOutputs, type StackOutputs } from "../cli/stack/session.ts";
import { derivedAddresses } from "../infra/addresses.ts";
import { PROJECT } from "../infra/config.ts";
import { engineNames, ROLES } from "../infra/names.ts";
import { archive, engine, exec } from "../infra/provider/engine.ts";
import { imageTag } from "../toolchain/image-tag.ts";
import { PACKAGE_ROOT } from "../toolchain/versions.ts";
import { aiwdb } from "./command.ts";
import { inTurns, median, type Benchmark, type Findings, type Row } from "./measure.ts";

const STACK = "pr-bench";
/** Prod's limits: each container may use every core of a small machine. */
const CPUS = 2;
const SCALE = 5;
const SECONDS = 6;
const SERVER_CONNECTIONS = 30;
const POOLED_CLIENTS = 200;
/**
 * The same on both sides. A thread of pgbench looks at all of its connections each time one of them has something, and connects
 * one after the other: four to a thread are the pooled clients' best, and one where each transaction connects.
 */
const CLIENTS_PER_THREAD = 4;
const FOLDER = "/etc/postgresql"; // writable for the image's account

/** Processor time by container over one pgbench run, microseconds per transaction; the part inside the kernel apart. */
type Cost = Record<string, { user: number; kernel: number }>;

interface Outcome {
  readonly tps: number;
  readonly cost: Cost;
}

/** A container with pgbench on the stack's network: every side on the same cores. */
async function startClient(docker: Docker, outputs: StackOutputs, roles: readonly string[]): Promise<string> {
  const name = `${engineNames(STACK).postgres}-client`;
  await docker
    .getContainer(name)
    .remove({ force: true, v: true })
    .catch(() => {});
  const container = await docker.createContainer({
    name,
    Image: imageTag("postgres"),
    Entrypoint: ["sleep", "infinity"],
    HostConfig: { NetworkMode: engineNames(STACK).network, Init: true },
  });
  const files: Record<string, { content: string; mode: number }> = {};
  for (const role of roles) {
    const paths = outputs.connections.certificates[role];
    if (!paths) throw new Error(`the stack has no certificate for ${role}`);
    files["ca.crt"] = { content: readFileSync(paths.sslRootCert, "utf8"), mode: 0o600 };
    files[`${role}.crt`] = { content: readFileSync(paths.sslCert, "utf8"), mode: 0o600 };
    files[`${role}.key`] = { content: readFileSync(paths.sslKey, "utf8"), mode: 0o600 };
    files[`${role}.pass`] = { content: `*:*:*:*:${outputs.passwords[role]}\n`, mode: 0o600 };
  }
  await container.putArchive(archive(files, 999), { path: FOLDER });
  await container.start();
  return name;
}

async function usage(docker: Docker, container: string): Promise<{ total: number; kernel: number }> {
  const stats = await docker.getContainer(container).stats({ stream: false, "one-shot": true });
  const { total_usage, usage_in_kernelmode } = stats.cpu_stats.cpu_usage;
  return { total: total_usage / 1_000, kernel: usage_in_kernelmode / 1_000 };
}

export default {
  question:
    `What does PgBouncer cost and gain, all hops mTLS, client, pooler and server on the same cores: pgbench select-only (scale ${SCALE}), ` +
    `${POOLED_CLIENTS} clients over ${SERVER_CONNECTIONS} server connections against ${SERVER_CONNECTIONS} direct clients?`,
  async run(report) {
    const names = engineNames(STACK);
    const docker = engine();
    // The client's container connects to both servers by their own addresses.
    const { networkSubnet } = derivedAddresses(STACK);
    const settings = join(PACKAGE_ROOT, `Pulumi.${STACK}.yaml`);
    writeFileSync(
      settings,
      `config:\n  ${PROJECT}:networkSubnet: ${networkSubnet}\n  ${PROJECT}:postgresClientAddresses: ["${networkSubnet}"]\n`,
    );
    let client = "";
    try {
      report(`bringing up stack ${STACK}`);
      await aiwdb(["up", "--stack", STACK]);
      for (const name of [names.postgres, names.pgbouncer])
        await docker.getContainer(name).update({ NanoCpus: CPUS * 1e9 });
      const session = openSession(STACK, {
        pulumi: { bin: "pulumi", version: "", way: "found", path: [] },
        env: process.env,
      });
      const outputs = await readOutputs(session);
      client = await startClient(docker, outputs, [ROLES.app, ROLES.owner]);
      const containers = { client, pooler: names.pgbouncer, server: names.postgres };

      /** @returns what it printed */
      const pgbench = async (role: string, through: "direct" | "pooler", args: readonly string[]): Promise<string> => {
        const host = through === "direct" ? names.postgres : names.pgbouncer;
        const variables = [
          `PGSSLMODE=verify-full`,
          `PGSSLROOTCERT=${FOLDER}/ca.crt`,
          `PGSSLCERT=${FOLDER}/${role}.crt`,
          `PGSSLKEY=${FOLDER}/${role}.key`,
          `PGPASSFILE=${FOLDER}/${role}.pass`,
        ];
        const address = ["-h", host, "-p", through === "direct" ? "5432" : "6432", "-U", role];
        // Into a file: what an exec prints while all cores are taken has been seen to get lost on its way.
        const { exitCode, stderr } = await exec(docker, client, [
          "env",
          ...variables,
          "sh",
          "-c",
          'exec pgbench "$@" >/tmp/pgbench.out',
          "pgbench",
          ...address,
          ...args,
          outputs.connections.database,
        ]);
        if (exitCode !== 0) throw new Error(`pgbench: ${stderr.slice(-1_000)}`);
        return (await exec(docker, client, ["cat", "/tmp/pgbench.out"])).stdout;
      };
      const measured = async (through: "direct" | "pooler", args: readonly string[]): Promise<Outcome> => {
        const before = await Promise.all(Object.values(containers).map((name) => usage(docker, name)));
        const stdout = await pgbench(ROLES.app, through, args);
        const after = await Promise.all(Object.values(containers).map((name) => usage(docker, name)));
        const transactions = Number(/actually processed: (\d+)/.exec(stdout)?.[1] ?? Number.NaN);
        // pgbench's time includes connecting, which 200 clients may need all of on a busy machine.
        if (!(transactions > 0)) throw new Error(`pgbench ran no transaction: ${stdout.slice(-1_000)}`);
        const cost: Cost = {};
        for (const [index, part] of Object.keys(containers).entries()) {
          const [start, end] = [before[index], after[index]];
          if (!start || !end) continue;
          const kernel = (end.kernel - start.kernel) / transactions;
          cost[part] = { kernel, user: (end.total - start.total) / transactions - kernel };
        }
        return { tps: Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1] ?? Number.NaN), cost };
      };

      await pgbench(ROLES.owner, "direct", ["-i", "-q", "-s", String(SCALE)]);
      const select = (clients: number, perThread: number, more: readonly string[]) => [
        "-n",
        "-S",
        "-j",
        String(Math.ceil(clients / perThread)),
        "-T",
        String(SECONDS),
        "-c",
        String(clients),
        ...more,
      ];
      const rows: Row[] = [];
      const notes: string[] = [];
      const cases = [
        {
          name: "simple protocol",
          more: ["-M", "simple"],
          clients: POOLED_CLIENTS,
          perThread: CLIENTS_PER_THREAD,
          target: { atLeast: 0.75 },
        },
        {
          name: "prepared statements",
          more: ["-M", "prepared"],
          clients: POOLED_CLIENTS,
          perThread: CLIENTS_PER_THREAD,
          target: { atLeast: 0.75 },
        },
        {
          name: "connection per transaction",
          more: ["-C"],
          clients: SERVER_CONNECTIONS,
          perThread: 1,
          target: { atLeast: 1.5 },
        },
      ];
      for (const { name, more, clients, perThread, target } of cases) {
        report(`measuring: ${name}`);
        const costs = { floor: [] as Cost[], ours: [] as Cost[] };
        const side = (through: "direct" | "pooler", count: number, kept: Cost[]) => async () => {
          const { tps, cost } = await measured(through, select(count, perThread, more));
          kept.push(cost);
          return tps;
        };
        const samples = await inTurns(
          side("direct", SERVER_CONNECTIONS, costs.floor),
          side("pooler", clients, costs.ours),
        );
        rows.push({ name, unit: "tps", ...samples, target });
        notes.push(
          `${name}, processor time per transaction, user + kernel: direct ${spent(costs.floor)}; pooled ${spent(costs.ours)}.`,
        );
      }
      return { rows, notes } satisfies Findings;
    } finally {
      if (client) await docker.getContainer(client).remove({ force: true, v: true });
      await aiwdb(["down", "--stack", STACK]);
      rmSync(settings, { force: true });
    }
  },
} satisfies Benchmark;

/** "client 20 + 31 µs, server …", medians. */
function spent(costs: readonly Cost[]): string {
  const parts = Object.keys(costs[0] ?? {}).map((part) => {
    const of = (kind: "user" | "kernel") => median(costs.map((cost) => cost[part]?.[kind] ?? 0));
    return { part, user: of("user"), kernel: of("kernel") };
  });
  const total = parts.reduce((sum, { user, kernel }) => sum + user + kernel, 0);
  const each = parts
    .filter(({ user, kernel }) => user + kernel >= 1)
    .map(({ part, user, kernel }) => `${part} ${user.toFixed(0)} + ${kernel.toFixed(0)} µs`);
  return `${each.join(", ")}, in all ${total.toFixed(0)} µs`;
}
