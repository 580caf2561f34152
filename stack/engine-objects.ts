import net from "node:net";
import type Docker from "dockerode";
import { subnetsOverlap, type ADDRESS_SETTINGS } from "../infra/settings/addresses.ts";
import type { StackConfig } from "../infra/settings/table.ts";
import { engineNames, HELPER_LABEL, STACK_LABEL, STATE_LABEL } from "../infra/settings/names.ts";
import { listeners } from "../infra/settings/listeners.ts";
import { askWithin } from "../toolchain/engine/client.ts";
import type { Problem } from "../base/errors.ts";
import type { KnownState } from "./backend.ts";

/** Engine objects that carry a stack's label. */
export interface EngineObjects {
  readonly containers: readonly {
    readonly name: string;
    readonly id: string;
    readonly running: boolean;
    /** Writes a volume's files, and is there for a moment. */
    readonly isHelper: boolean;
  }[];
  readonly networks: readonly {
    readonly name: string;
    readonly id: string;
    /** Which state made it, if it says so. */
    readonly stateId?: string | undefined;
  }[];
  readonly volumes: readonly string[];
}

export async function listObjects(docker: Docker, stack: string): Promise<EngineObjects> {
  const filters = { label: [`${STACK_LABEL}=${stack}`] };
  const [containers, networks, { Volumes }] = await Promise.all([
    askWithin((options) => docker.listContainers({ all: true, filters, ...options })),
    askWithin((options) => docker.listNetworks({ filters, ...options })),
    askWithin((options) => docker.listVolumes({ filters: JSON.stringify(filters) as never, ...options })),
  ]);
  return {
    containers: containers.map(({ Names, Id, State, Labels }) => ({
      name: Names[0]?.replace(/^\//, "") ?? Id,
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

/** Ids and names the state knows. */
function known(state: KnownState): Set<string> {
  const resources = state.kind === "none" ? [] : state.resources;
  return new Set(resources.flatMap(({ id }) => (id ? [id] : [])));
}

/**
 * Removes containers and networks that carry the stack's label and that its state does not know: a run that was killed
 * between creating one and recording it leaves them, and their names would be taken for ever. They hold no data;
 * volumes are left alone, the next run takes them over.
 *
 * @param reason what the user is told of each
 */
export async function removeOrphans(
  docker: Docker,
  stack: string,
  state: KnownState,
  report: (line: string) => void,
  reason = "which a run that was cut off left behind",
): Promise<void> {
  const objects = await listObjects(docker, stack);
  const ids = known(state);
  for (const { id, name } of objects.containers.filter((container) => !ids.has(container.id))) {
    report(`removing container ${name}, ${reason}`);
    await removeContainer(docker, id);
  }
  for (const { id, name } of objects.networks.filter((network) => !ids.has(network.id))) {
    report(`removing network ${name}, ${reason}`);
    await docker.getNetwork(id).remove();
  }
}

/** Stops a container in its own way and removes it; one that is gone already is no error. */
export async function removeContainer(docker: Docker, id: string): Promise<void> {
  const container = docker.getContainer(id);
  const unless =
    (...expected: number[]) =>
    (error: { statusCode?: number }) => {
      if (!expected.includes(error.statusCode ?? 0)) throw error;
    };
  await container.stop().catch(unless(304, 404)); // it does not run, or is gone
  await container.remove({ force: true, v: true }).catch(unless(404));
}

/** What on the engine or this machine is in the way of a stack: names, addresses and ports of somebody else. */
export async function obstacles(docker: Docker, config: StackConfig): Promise<Problem[]> {
  const names = engineNames(config.stack);
  const mine = await listObjects(docker, config.stack);
  const problems: Problem[] = [];

  const taken = (kind: string, name: string, remedy: string) =>
    problems.push({ subject: `${kind} ${name}`, problem: "exists on the engine and is not this stack's", remedy });
  const [containers, networks, { Volumes }] = await Promise.all([
    askWithin((options) => docker.listContainers({ all: true, ...options })),
    askWithin((options) => docker.listNetworks(options)),
    askWithin((options) => docker.listVolumes(options)),
  ]);
  const isMine = (list: readonly { name: string }[], name: string) => list.some((object) => object.name === name);
  for (const name of [names.postgres, names.pgbouncer, names.maintenance]) {
    const exists = containers.some(({ Names }) => Names.includes(`/${name}`));
    if (exists && !isMine(mine.containers, name))
      taken("container", name, `Rename or remove it, or choose another stack name with --stack.`);
  }
  if (networks.some(({ Name }) => Name === names.network) && !isMine(mine.networks, names.network)) {
    taken("network", names.network, "Remove it, or choose another stack name with --stack.");
  }
  for (const name of [
    names.dataVolume,
    names.postgresConfigVolume,
    names.pgbouncerConfigVolume,
    names.maintenanceConfigVolume,
  ]) {
    if (Volumes.some(({ Name }) => Name === name) && !mine.volumes.includes(name)) {
      taken(
        "volume",
        name,
        "It may hold somebody's data: look into it, then remove it or choose another stack name with --stack.",
      );
    }
  }
  return [...problems, ...(await addressProblems(docker, config))];
}

/** An address setting that something else holds. */
export interface AddressProblem extends Problem {
  readonly subject: (typeof ADDRESS_SETTINGS)[number];
}

/** Which of a stack's ports and subnet somebody else has. */
export async function addressProblems(docker: Docker, config: StackConfig): Promise<AddressProblem[]> {
  const names = engineNames(config.stack);
  const problems: AddressProblem[] = [];
  const [containers, networks] = await Promise.all([
    askWithin((options) => docker.listContainers({ all: true, ...options })),
    askWithin((options) => docker.listNetworks(options)),
  ]);
  for (const { Name, IPAM } of networks) {
    if (Name === names.network) continue;
    const overlapping = (IPAM?.Config ?? []).find(
      ({ Subnet }) => Subnet !== undefined && subnetsOverlap(Subnet, config.networkSubnet),
    );
    if (overlapping) {
      problems.push({
        subject: "networkSubnet",
        problem: `${config.networkSubnet} overlaps ${overlapping.Subnet ?? ""} of network ${Name}`,
        remedy: "Set networkSubnet to a free private network, for example 10.99.0.0/28.",
      });
    }
  }
  const published = [
    [names.postgres, "127.0.0.1", config.postgresPort, "postgresPort"],
    ...listeners(config).map(
      ({ offset }) =>
        [names.pgbouncer, config.pgbouncerPublishAddress, config.pgbouncerPort + offset, "pgbouncerPort"] as const,
    ),
  ] as const;
  for (const [container, address, port, setting] of published) {
    const own = containers.find(
      ({ Names, Labels }) => Names.includes(`/${container}`) && Labels[STACK_LABEL] === config.stack,
    );
    const holds =
      own?.Ports.some(({ PublicPort }) => PublicPort === port) ||
      (own?.State === "restarting" && (await portsOf(docker, own.Id)).includes(port));
    const problem = holds ? undefined : await portProblem(address, port);
    if (problem)
      problems.push({ subject: setting, problem, remedy: `Stop what uses it, or set ${setting} to a free port.` });
  }
  return problems;
}

/** What a container that does not stay up has again at each start; the engine lists no port of it in between. */
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
