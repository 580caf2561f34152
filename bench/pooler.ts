import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openSession, readOutputs } from "../stack/session.ts";
import { derivedAddresses } from "../infra/settings/addresses.ts";
import { PROJECT } from "../infra/settings/names.ts";
import { engineNames } from "../infra/settings/names.ts";
import { ROLES } from "../database/access/roles.ts";
import { engine } from "../toolchain/engine/containers.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { aiwdb } from "./command.ts";
import { inTurns, type Benchmark, type Findings, type Row } from "./measure.ts";
import { pgbenchOn, spent, startClient, type Cost } from "./pgbench.ts";

const STACK = "pr-bench";
/** Prod's limits: each container may use every core of a small machine. */
const CPUS = 2;
const SCALE = 5;
const SECONDS = 6;
const SERVER_CONNECTIONS = 30;
const POOLED_CLIENTS = 200;
/**
 * Connections of one pgbench thread, the same on both sides.
 *
 * A thread looks at all of its connections whenever one of them has data, and it opens them one after the other. Pooled
 * clients are fastest with four to a thread; clients that connect for each transaction are fastest with one.
 */
const CLIENTS_PER_THREAD = 4;

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
      client = await startClient(docker, STACK, outputs, [ROLES.app, ROLES.owner]);
      const bench = pgbenchOn(docker, STACK, outputs, client);
      const measured = (through: "direct" | "pooler", args: readonly string[]) =>
        bench.measured([{ role: ROLES.app, through, args }]);

      await bench.run({ role: ROLES.owner, through: "direct", args: ["-i", "-q", "-s", String(SCALE)] });
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
