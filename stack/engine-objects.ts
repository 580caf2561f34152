import net from "node:net";
import type Docker from "dockerode";
import { subnetsOverlap, type ADDRESS_SETTINGS } from "../infra/settings/addresses.ts";
import type { StackConfig } from "../infra/settings/table.ts";
import { engineNames, HELPER_LABEL, STACK_LABEL, STATE_LABEL } from "../infra/settings/names.ts";
import { listeners } from "../infra/settings/listeners.ts";
import { askWithin } from "../toolchain/engine/client.ts";
import type { Problem } from "../base/errors.ts";
import type { Report } from "../base/progress.ts";
import { type KnownState, resourcesOf } from "./backend.ts";

/** Objects on the engine that have a stack's label. */
export interface EngineObjects {
  readonly containers: readonly {
    readonly name: string;
    readonly id: string;
    readonly running: boolean;
    /** Whether it writes a volume's files, and is there for a moment only. */
    readonly isHelper: boolean;
  }[];
  readonly networks: readonly {
    readonly name: string;
    readonly id: string;
    /** The id of the state that made it, if its label says so. */
    readonly stateId?: string | undefined;
  }[];
  readonly volumes: readonly string[];
}

/** The name that a user gave a container, of those in the engine's list. */
export const containerName = (id: string, names: readonly string[]): string => names[0]?.replace(/^\//, "") ?? id;

export async function listObjects(docker: Docker, stack: string): Promise<EngineObjects> {
  const filters = { label: [`${STACK_LABEL}=${stack}`] };
  const [containers, networks, { Volumes }] = await Promise.all([
    askWithin((options) => docker.listContainers({ all: true, filters, ...options })),
    askWithin((options) => docker.listNetworks({ filters, ...options })),
    askWithin((options) => docker.listVolumes({ filters: JSON.stringify(filters) as never, ...options })),
  ]);
  return {
    containers: containers.map(({ Names, Id, State, Labels }) => ({
      name: containerName(Id, Names),
      id: Id,
      running: State === "running",
      isHelper: Labels[HELPER_LABEL] !== undefined,
    })),
    networks: networks.map(({ Name, Id, Labels }) => ({ name: Name, id: Id, stateId: Labels?.[STATE_LABEL] })),
    volumes: Volumes.map(({ Name }) => Name),
  };
}

/** Containers of a stack that run, and that there are. */
export interface ContainerCount {
  readonly running: number;
  readonly all: number;
}

/** Every stack that has a container on the engine, whoever made it. */
export async function containersByStack(docker: Docker): Promise<Map<string, ContainerCount>> {
  const found = new Map<string, ContainerCount>();
  const filters = { label: [STACK_LABEL] };
  for (const { Labels, State } of await askWithin((options) =>
    docker.listContainers({ all: true, filters, ...options }),
  )) {
    const stack = Labels[STACK_LABEL] ?? "";
    const { running, all } = found.get(stack) ?? { running: 0, all: 0 };
    found.set(stack, { running: running + (State === "running" ? 1 : 0), all: all + 1 });
  }
  return found;
}

/**
 * Removes containers and networks that have the stack's label and that its state does not know. A run leaves them when
 * it is killed between making and recording one, and they would keep their names for ever. They hold no data. Volumes
 * stay, and the next run takes them over.
 *
 * @param reason what to tell the user of each
 */
export async function removeOrphans(
  docker: Docker,
  stack: string,
  state: KnownState,
  report: Report,
  reason = "which a run that was cut off left behind",
): Promise<void> {
  const objects = await listObjects(docker, stack);
  const ids = new Set(resourcesOf(state).map(({ id }) => id));
  for (const { id, name } of objects.containers.filter((container) => !ids.has(container.id))) {
    report(`removing container ${name}, ${reason}`);
    await removeContainer(docker, id);
  }
  for (const { id, name } of objects.networks.filter((network) => !ids.has(network.id))) {
    report(`removing network ${name}, ${reason}`);
    await docker.getNetwork(id).remove();
  }
}

/** Stops a container in its own way and removes it. It is no error when the container is gone already. */
export async function removeContainer(docker: Docker, id: string): Promise<void> {
  const container = docker.getContainer(id);
  const unlessDone = (error: { statusCode?: number }) => {
    if (error.statusCode !== 304 && error.statusCode !== 404) throw error; // it does not run, or is gone
  };
  await container.stop().catch(unlessDone);
  await container.remove({ force: true, v: true }).catch(unlessDone);
}

/** What on the engine or this machine is in the way of a stack: names, addresses and ports of somebody else. */
export async function obstacles(docker: Docker, config: StackConfig): Promise<Problem[]> {
  const names = engineNames(config.stack);
  const [containers, networks, { Volumes }] = await Promise.all([
    askWithin((options) => docker.listContainers({ all: true, ...options })),
    askWithin((options) => docker.listNetworks(options)),
    askWithin((options) => docker.listVolumes(options)),
  ]);
  const isOthers = ({ Labels }: { Labels?: Record<string, string> | undefined }) =>
    Labels?.[STACK_LABEL] !== config.stack;
  const kinds = [
    {
      kind: "container",
      wanted: [names.postgres, names.pgbouncer, names.maintenance],
      taken: containers.filter(isOthers).flatMap(({ Names }) => Names.map((name) => name.replace(/^\//, ""))),
      advice: "Rename or remove it, or",
    },
    {
      kind: "network",
      wanted: [names.network],
      taken: networks.filter(isOthers).map(({ Name }) => Name),
      advice: "Remove it, or",
    },
    {
      kind: "volume",
      wanted: [
        names.dataVolume,
        names.postgresConfigVolume,
        names.pgbouncerConfigVolume,
        names.maintenanceConfigVolume,
      ],
      taken: Volumes.filter(isOthers).map(({ Name }) => Name),
      advice: "It may hold somebody's data: look into it, then remove it or",
    },
  ];
  const problem = "exists on the engine and is not this stack's";
  const problems = kinds.flatMap(({ kind, wanted, taken, advice }) => {
    const remedy = `${advice} choose another stack name with --stack.`;
    const found = wanted.filter((name) => taken.includes(name));
    return found.map((name) => ({ subject: `${kind} ${name}`, problem, remedy }));
  });
  return [...problems, ...(await addressProblems(docker, config))];
}

/** An address setting that something else holds. */
export interface AddressProblem extends Problem {
  readonly subject: (typeof ADDRESS_SETTINGS)[number];
}

/** Which of a stack's ports and subnet somebody else has. */
export async function addressProblems(docker: Docker, config: StackConfig): Promise<AddressProblem[]> {
  const names = engineNames(config.stack);
  const [containers, networks] = await Promise.all([
    askWithin((options) => docker.listContainers({ all: true, ...options })),
    askWithin((options) => docker.listNetworks(options)),
  ]);
  const problems = networks
    .filter(({ Name }) => Name !== names.network)
    .flatMap(({ Name, IPAM }): AddressProblem[] => {
      const subnets = (IPAM?.Config ?? []).flatMap(({ Subnet }) => Subnet ?? []);
      const subnet = subnets.find((each) => subnetsOverlap(each, config.networkSubnet));
      if (subnet === undefined) return [];
      const problem = `${config.networkSubnet} overlaps ${subnet} of network ${Name}`;
      const remedy = "Set networkSubnet to a free private network, for example 10.99.0.0/28.";
      return [{ subject: "networkSubnet", problem, remedy }];
    });
  const published = [
    [names.postgres, "127.0.0.1", config.postgresPort, "postgresPort"],
    ...listeners(config).map(
      ({ offset }) =>
        [names.pgbouncer, config.pgbouncerPublishAddress, config.pgbouncerPort + offset, "pgbouncerPort"] as const,
    ),
  ] as const;
  for (const [container, address, port, subject] of published) {
    const own = containers.find(
      ({ Names, Labels }) => Names.includes(`/${container}`) && Labels[STACK_LABEL] === config.stack,
    );
    const holds =
      own?.Ports.some(({ PublicPort }) => PublicPort === port) ||
      (own?.State === "restarting" && (await portsOf(docker, own.Id)).includes(port));
    const problem = holds ? undefined : await portProblem(address, port);
    if (problem) problems.push({ subject, problem, remedy: `Stop what uses it, or set ${subject} to a free port.` });
  }
  return problems;
}

/** Ports of a container that does not stay up. The engine lists none of them between two starts. */
async function portsOf(docker: Docker, id: string): Promise<number[]> {
  const { HostConfig } = await docker.getContainer(id).inspect();
  const bindings = Object.values((HostConfig.PortBindings ?? {}) as Record<string, { HostPort: string }[]>);
  return bindings.flat().map(({ HostPort }) => Number(HostPort));
}

function portProblem(address: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(`port ${port} on ${address} is in use by another program`);
      else if (error.code === "EADDRNOTAVAIL") resolve(`${address} is no address of this machine`);
      else if (error.code === "EACCES") resolve(undefined); // below 1024: the engine may have the right that we lack
      else resolve(`port ${port} on ${address} cannot be used: ${error.message}`);
    });
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
