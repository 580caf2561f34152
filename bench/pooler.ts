import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { openSession, readOutputs } from "../stack/session.ts";
import { derivedAddresses } from "../infra/settings/addresses.ts";
import { engineNames, PROJECT } from "../infra/settings/names.ts";
import { ROLES } from "../database/access/roles.ts";
import { engine } from "../toolchain/engine/containers.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { aiwdb } from "./command.ts";
import { type Benchmark, type Findings, REPETITIONS, type Row } from "./measure.ts";
import { asProcess, inContainer, type PoolerByHand } from "./pooler-by-hand.ts";
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

const SIMPLE = { more: ["-M", "simple"], clients: POOLED_CLIENTS, perThread: CLIENTS_PER_THREAD };
const CASES = {
  "simple protocol": SIMPLE,
  "prepared statements": { ...SIMPLE, more: ["-M", "prepared"] },
  "connection per transaction": { more: ["-C"], clients: SERVER_CONNECTIONS, perThread: 1 },
};

export default {
  question:
    `What does our PgBouncer cost compared to one that is made by hand, all hops mTLS, client, pooler and server on the same cores: pgbench select-only (scale ${SCALE}), ` +
    `${POOLED_CLIENTS} clients over ${SERVER_CONNECTIONS} server connections? For information: the same against ${SERVER_CONNECTIONS} direct clients.`,
  async run(report) {
    const names = engineNames(STACK);
    const docker = engine();
    // The client's container, and the poolers made by hand, connect to both servers by their own addresses.
    const { networkSubnet } = derivedAddresses(STACK);
    const settings = join(PACKAGE_ROOT, `Pulumi.${STACK}.yaml`);
    const config = {
      networkSubnet,
      postgresClientAddresses: [networkSubnet],
      // No reserve on either side, and room for the pools of all sides in the limit of the role.
      pgbouncerReservePoolSize: 0,
      pgbouncerMaxDbConnections: SERVER_CONNECTIONS * 5,
      postgresMemoryMiB: 1024,
    };
    const own = Object.entries(config).map(([name, value]) => [`${PROJECT}:${name}`, value]);
    writeFileSync(settings, stringify({ config: Object.fromEntries(own) }));
    const toRemove: (() => Promise<unknown>)[] = [];
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
      const client = await startClient(docker, STACK, outputs, [ROLES.app, ROLES.owner]);
      toRemove.push(() => docker.getContainer(client).remove({ force: true, v: true }));
      const byHand = async (make: typeof inContainer | typeof asProcess): Promise<PoolerByHand> => {
        const pooler = await make(docker, STACK, outputs, POOLED_CLIENTS + 50, SERVER_CONNECTIONS);
        toRemove.push(() => pooler.remove());
        return pooler;
      };
      const container = await byHand(inContainer);
      const process_ = await byHand(asProcess);
      const bench = pgbenchOn(docker, STACK, outputs, client, { "pooler by hand": container.container ?? "" });
      await bench.run({ role: ROLES.owner, through: "direct", args: ["-i", "-q", "-s", String(SCALE)] });

      const rows: Row[] = [];
      const notes: string[] = [];
      for (const [name, { more, clients, perThread }] of Object.entries(CASES)) {
        report(`measuring: ${name}`);
        const sides = {
          "by hand, docker run": { through: container, count: clients },
          "by hand, no container": { through: process_, count: clients },
          ours: { through: "pooler" as const, count: clients },
          direct: { through: "direct" as const, count: SERVER_CONNECTIONS },
        };
        type Side = keyof typeof sides;
        const found = {} as Record<Side, { tps: number[]; costs: Cost[] }>;
        for (const side of Object.keys(sides) as Side[]) found[side] = { tps: [], costs: [] };
        // In turns, so that a machine that is slow for a while is slow for all.
        for (let round = 0; round < REPETITIONS; round += 1)
          for (const [side, { through, count }] of Object.entries(sides) as [Side, (typeof sides)[Side]][]) {
            const threads = Math.ceil(count / perThread);
            const args = ["-n", "-S", "-j", String(threads), "-T", String(SECONDS), "-c", String(count), ...more];
            const { tps, cost } = await bench.measured([{ role: ROLES.app, through, args }]);
            found[side].tps.push(tps);
            found[side].costs.push(cost);
          }
        const ours = found.ours.tps;
        for (const side of ["by hand, docker run", "by hand, no container"] as const)
          rows.push({ name: `${name}: ${side}`, unit: "tps", floor: found[side].tps, ours, target: { atLeast: 0.95 } });
        rows.push({ name: `${name}: direct clients`, unit: "tps", floor: found.direct.tps, ours });
        const spentBy = (Object.keys(sides) as Side[]).map((side) => `${side}: ${spent(found[side].costs)}`);
        notes.push(`${name}, processor time per transaction, user + kernel. ${spentBy.join(". ")}.`);
      }
      return { rows, notes } satisfies Findings;
    } finally {
      for (const remove of toRemove.toReversed()) await remove();
      await aiwdb(["down", "--stack", STACK]);
      rmSync(settings, { force: true });
    }
  },
} satisfies Benchmark;
