import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { stringify } from "yaml";
import { openSession, readOutputs } from "../stack/session.ts";
import { derivedAddresses } from "../infra/settings/addresses.ts";
import { PROJECT } from "../infra/settings/names.ts";
import { engineNames } from "../infra/settings/names.ts";
import { ROLES } from "../database/access/roles.ts";
import { engine } from "../toolchain/engine/containers.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { aiwdb } from "./command.ts";
import { inTurns, median, type Benchmark, type Findings, type Row } from "./measure.ts";
import { pgbenchOn, spent, startClient, type Cost, type Load } from "./pgbench.ts";

const STACKS = { shared: "pr-bench-shared", bound: "pr-bench-bound" } as const;
type Side = keyof typeof STACKS;
const CPUS = 2;
const SCALE = 5;
const CLIENTS = 200;
/** Transactions of each client. A number, not a time: on a busy machine both sides then do the same work. */
const TRANSACTIONS = 50;
const CONNECTIONS = 10;
const CLIENTS_PER_THREAD = 4;
const CONNECTING_CLIENTS = 30;

const load = (
  role: Load["role"],
  clients: number,
  perThread: number,
  transactions: number,
  more: readonly string[],
): Load => {
  const counts = { "-c": clients, "-j": Math.ceil(clients / perThread), "-t": transactions };
  const numbers = Object.entries(counts).flatMap(([name, value]) => [name, String(value)]);
  return { role, through: "pooler", args: ["-n", "-S", ...numbers, ...more] };
};
const CASES: [name: string, loads: readonly Load[]][] = [
  ["simple protocol", [load(ROLES.app, CLIENTS, CLIENTS_PER_THREAD, TRANSACTIONS, ["-M", "simple"])]],
  ["prepared statements", [load(ROLES.app, CLIENTS, CLIENTS_PER_THREAD, TRANSACTIONS, ["-M", "prepared"])]],
  ["connection per transaction", [load(ROLES.app, CONNECTING_CLIENTS, 1, CONNECTIONS, ["-C"])]],
  [
    "two roles at once",
    [
      load(ROLES.app, 150, CLIENTS_PER_THREAD, TRANSACTIONS, ["-M", "simple"]),
      load(ROLES.readonly, 50, CLIENTS_PER_THREAD, TRANSACTIONS, ["-M", "simple"]),
    ],
  ],
];

const settingsFile = (side: Side) => path.join(PACKAGE_ROOT, `Pulumi.${STACKS[side]}.yaml`);

async function bringUp(side: Side) {
  const stack = STACKS[side];
  const { networkSubnet } = derivedAddresses(stack);
  const settings = {
    // The client's container connects to both servers by their own addresses.
    networkSubnet,
    postgresClientAddresses: [networkSubnet],
    // Enough for app_user to have the same pool on both sides.
    pgbouncerMaxDbConnections: side === "bound" ? 54 : 50,
    rolloutPhase: 1,
    pgbouncerBindCertificates: side === "bound",
  };
  const config = Object.fromEntries(Object.entries(settings).map(([key, value]) => [`${PROJECT}:${key}`, value]));
  writeFileSync(settingsFile(side), stringify({ config }));
  await aiwdb(["up", "--stack", stack]);
  const docker = engine();
  const { postgres, pgbouncer } = engineNames(stack);
  for (const name of [postgres, pgbouncer]) await docker.getContainer(name).update({ NanoCpus: CPUS * 1e9 });
  const session = openSession(stack, {
    pulumi: { bin: "pulumi", version: "", way: "found", path: [] },
    env: process.env,
  });
  const outputs = await readOutputs(session);
  const client = await startClient(docker, stack, outputs, [ROLES.app, ROLES.readonly, ROLES.owner]);
  const bench = pgbenchOn(docker, stack, outputs, client);
  await bench.run({ role: ROLES.owner, through: "direct", args: ["-i", "-q", "-s", String(SCALE)] });
  return { ...bench, client, memoryMiB: () => memoryMiB(pgbouncer) };
}

/** Memory of a container's processes, without the file cache. */
async function memoryMiB(container: string): Promise<number> {
  const { memory_stats: memory } = await engine().getContainer(container).stats({ stream: false, "one-shot": true });
  const cache = memory.stats as unknown as Record<string, number>;
  return (memory.usage - (cache["inactive_file"] ?? cache["total_inactive_file"] ?? 0)) / 2 ** 20;
}

export default {
  question:
    `What does it cost to bind certificates to roles in PgBouncer (pgbouncerBindCertificates): pgbench select-only (scale ${SCALE}), ` +
    `${CLIENTS} clients through one process for all roles against one for each; processor time of the pooler's container per transaction?`,
  async run(report) {
    const clients: string[] = [];
    try {
      report("bringing up two stacks");
      const sides = { shared: await bringUp("shared"), bound: await bringUp("bound") };
      clients.push(sides.shared.client, sides.bound.client);
      const rows: Row[] = [];
      const notes: string[] = [];
      const memory = async (name: string) => {
        const samples = { floor: [await sides.shared.memoryMiB()], ours: [await sides.bound.memoryMiB()] };
        rows.push({ name, unit: "MiB", ...samples });
      };
      await memory("memory of the pooler before any load");
      for (const [name, loads] of CASES) {
        report(`measuring: ${name}`);
        const costs = { shared: [] as Cost[], bound: [] as Cost[] };
        const tps = { shared: [] as number[], bound: [] as number[] };
        const side = (which: Side) => async () => {
          const outcome = await sides[which].measured(loads);
          costs[which].push(outcome.cost);
          tps[which].push(outcome.tps);
          return (outcome.cost["pooler"]?.user ?? Number.NaN) + (outcome.cost["pooler"]?.kernel ?? Number.NaN);
        };
        rows.push({ name, unit: "µs", ...(await inTurns(side("shared"), side("bound"))), target: { atMost: 1.1 } });
        notes.push(
          `${name}, processor time per transaction, user + kernel: shared ${spent(costs.shared)}, ${median(tps.shared).toFixed(0)} tps; bound ${spent(costs.bound)}, ${median(tps.bound).toFixed(0)} tps.`,
        );
      }
      await memory("memory of the pooler after all loads");
      return { rows, notes } satisfies Findings;
    } finally {
      for (const client of clients) await engine().getContainer(client).remove({ force: true, v: true });
      for (const side of ["shared", "bound"] as const) {
        await aiwdb(["down", "--stack", STACKS[side]]);
        rmSync(settingsFile(side), { force: true });
      }
    }
  },
} satisfies Benchmark;
