import { readFileSync } from "node:fs";
import type Docker from "dockerode";
import type { StackOutputs } from "../stack/session.ts";
import { connectionFor } from "../stack/connections.ts";
import { engineNames } from "../infra/settings/names.ts";
import { POOLED_ROLES, type ClientRole } from "../database/access/roles.ts";
import { archive } from "../toolchain/engine/archives.ts";
import { exec } from "../toolchain/engine/containers.ts";
import { roleListener } from "../infra/settings/listeners.ts";
import { imageTag } from "../toolchain/images/tag.ts";
import { median } from "./measure.ts";

const FOLDER = "/etc/postgresql"; // writable for the image's account

/** Processor time of each container over one pgbench run, in microseconds per transaction; the kernel's part apart. */
export type Cost = Record<string, { user: number; kernel: number }>;

export interface Outcome {
  readonly tps: number;
  readonly cost: Cost;
}

/** Another server that shows the certificate of the stack's pooler. */
export interface Elsewhere {
  readonly address: string;
  readonly port: number;
}

/** One pgbench: who connects, by which way, with which further arguments. */
export interface Load {
  readonly role: ClientRole;
  readonly through: "direct" | "pooler" | Elsewhere;
  readonly args: readonly string[];
}

/** A container with pgbench on a stack's network: every side on the same cores. */
export async function startClient(
  docker: Docker,
  stack: string,
  outputs: StackOutputs,
  roles: readonly string[],
): Promise<string> {
  const name = `${engineNames(stack).postgres}-client`;
  await docker
    .getContainer(name)
    .remove({ force: true, v: true })
    .catch(() => {}); // an earlier run left none
  const container = await docker.createContainer({
    name,
    Image: imageTag("postgres"),
    Entrypoint: ["sleep", "infinity"],
    HostConfig: { NetworkMode: engineNames(stack).network, Init: true },
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

/**
 * pgbench on a stack, in a container that `startClient` started.
 *
 * @param further containers whose processor time is measured too, by what the notes call them
 */
export function pgbenchOn(
  docker: Docker,
  stack: string,
  outputs: StackOutputs,
  client: string,
  further: Readonly<Record<string, string>> = {},
) {
  const names = engineNames(stack);
  const containers = { client, pooler: names.pgbouncer, ...further, server: names.postgres };

  function portInside(role: ClientRole): number {
    const pooled = POOLED_ROLES.find((known) => known === role);
    return pooled && outputs.connections.rolePorts ? roleListener(pooled).port : 6432;
  }

  /** @returns what it printed */
  async function run({ role, through, args }: Load): Promise<string> {
    const { database } = connectionFor(outputs, role, "direct");
    const out = `/tmp/pgbench-${role}.out`;
    const variables = [
      `PGSSLMODE=verify-full`,
      `PGSSLROOTCERT=${FOLDER}/ca.crt`,
      `PGSSLCERT=${FOLDER}/${role}.crt`,
      `PGSSLKEY=${FOLDER}/${role}.key`,
      `PGPASSFILE=${FOLDER}/${role}.pass`,
    ];
    const [host, port] =
      through === "direct"
        ? [names.postgres, 5432]
        : [names.pgbouncer, through === "pooler" ? portInside(role) : through.port];
    const address = ["-h", host, "-p", String(port), "-U", role];
    // The name is still the one that the certificate must have.
    if (typeof through === "object") variables.push(`PGHOSTADDR=${through.address}`);
    // Into a file, because output of an exec has been lost while all cores were busy.
    const { exitCode, stderr } = await exec(docker, client, [
      "env",
      ...variables,
      "sh",
      "-c",
      `exec pgbench "$@" >${out}`,
      "pgbench",
      ...address,
      ...args,
      database,
    ]);
    if (exitCode !== 0) throw new Error(`pgbench: ${stderr.slice(-1_000)}`);
    return (await exec(docker, client, ["cat", out])).stdout;
  }

  /** Runs several at once and measures them as one. */
  async function measured(loads: readonly Load[]): Promise<Outcome> {
    const before = await Promise.all(Object.values(containers).map((name) => usage(docker, name)));
    const printed = await Promise.all(loads.map(run));
    const after = await Promise.all(Object.values(containers).map((name) => usage(docker, name)));
    let [transactions, tps] = [0, 0];
    for (const stdout of printed) {
      const count = Number(/actually processed: (\d+)/.exec(stdout)?.[1] ?? Number.NaN);
      // pgbench's time includes connecting. On a busy machine 200 clients may spend all of it on that.
      if (!(count > 0)) throw new Error(`pgbench ran no transaction: ${stdout.slice(-1_000)}`);
      transactions += count;
      tps += Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1] ?? Number.NaN);
    }
    const cost: Cost = {};
    for (const [index, part] of Object.keys(containers).entries()) {
      const [start, end] = [before[index], after[index]];
      if (!start || !end) continue;
      const kernel = (end.kernel - start.kernel) / transactions;
      cost[part] = { kernel, user: (end.total - start.total) / transactions - kernel };
    }
    return { tps, cost };
  }

  return { run, measured };
}

/** "client 20 + 31 µs, server …", medians. */
export function spent(costs: readonly Cost[]): string {
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
