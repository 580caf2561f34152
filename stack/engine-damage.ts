import type Docker from "dockerode";
import { engineNames } from "../infra/settings/names.ts";
import { inspect } from "../toolchain/engine/containers.ts";
import { hasPassword } from "../infra/provider/resources/superuser-password.ts";
import { askWithin } from "../toolchain/engine/client.ts";
import { type KnownState, resourcesOf } from "./backend.ts";
import { healthNow } from "../infra/servers/container-health.ts";

/**
 * How the engine differs from what the state of a stack says. Pulumi compares settings with its state and asks the
 * engine nothing. It would change nothing on a stack whose containers are gone.
 */
export interface Damage {
  /** Containers that can be started as they are, the server before the pooler. */
  readonly stopped: readonly DamagedContainer[];
  /** Containers that are there and can't serve any more. Pulumi makes them again; they hold no data. */
  readonly unusable: readonly DamagedContainer[];
  /**
   * The maintenance container, while it runs and its health check fails. It has no clients and no data, so that `up`
   * can always start it again. A server whose check fails may be recovering, and `up` leaves it alone.
   */
  readonly unhealthy: readonly DamagedContainer[];
  /** What is not on the engine any more, with the resources of the state that stand for it. */
  readonly gone: readonly GoneObject[];
  /** The data, where its volume is gone, or lived in memory and its container ended. */
  readonly lostData: LostData | undefined;
}

export interface DamagedContainer {
  readonly urn: string;
  readonly id: string;
  readonly name: string;
  /** What is wrong with it, as the end of a sentence: "is stopped". */
  readonly problem: string;
}

export interface GoneObject {
  readonly kind: "container" | "network" | "volume" | "image";
  readonly name: string;
  readonly urns: readonly string[];
}

export interface LostData {
  readonly volume: string;
  /** The resource on which everything in the volume depends. */
  readonly urn: string;
  /** Whether it lived in memory. Then nobody expects it to outlive its container. */
  readonly inMemory: boolean;
}

/** Types of the resources that stand for something on the engine, as the state has them. */
export const TYPES = {
  container: "docker:index/container:Container",
  volume: "docker:index/volume:Volume",
  network: "aiwdb:index:Network",
  image: "aiwdb:index:Image",
  files: "aiwdb:index:VolumeFiles",
  ready: "aiwdb:index:ContainerReady",
  superuser: "aiwdb:index:SuperuserPassword",
  migrations: "aiwdb:index:Migrations",
  identity: "aiwdb:index:StateIdentity",
  database: "postgresql:index/database:Database",
} as const;

/** States in which the engine's `start` brings a container back. */
const STARTABLE = new Set(["exited", "created"]);

/**
 * Asks the engine once for all it has, and compares it with the state. Changes nothing.
 *
 * @throws ToolError when the engine does not answer: that is not the same as nothing there
 */
export async function findDamage(docker: Docker, stack: string, state: KnownState): Promise<Damage> {
  const resources = resourcesOf(state);
  const recorded = (kind: keyof typeof TYPES) =>
    resources.flatMap(({ type, id, ...rest }) => (type === TYPES[kind] && id !== undefined ? [{ ...rest, id }] : []));
  const [containers, unhealthyOnes, networks, { Volumes }, images] = await Promise.all([
    askWithin((options) => docker.listContainers({ all: true, ...options })),
    askWithin((options) => docker.listContainers({ filters: { health: ["unhealthy"] }, ...options })),
    askWithin((options) => docker.listNetworks(options)),
    askWithin((options) => docker.listVolumes(options)),
    askWithin((options) => docker.listImages(options)),
  ]);
  const volumes = new Set(Volumes.map(({ Name }) => Name));
  const tags = new Set(images.flatMap(({ RepoTags }) => RepoTags ?? []));
  const [network] = recorded("network");
  const hasNetwork = networks.some(({ Id }) => Id === network?.id);

  const { dataVolume, network: networkName, postgres, pgbouncer, maintenance } = engineNames(stack);
  const stopped: DamagedContainer[] = [];
  const unusable: DamagedContainer[] = [];
  const unhealthy: DamagedContainer[] = [];
  const gone: GoneObject[] = [];
  for (const { urn, id, outputs } of recorded("container")) {
    const name = String(outputs?.["name"] ?? id);
    const found = containers.find(({ Id }) => Id === id);
    if (found === undefined) {
      gone.push({ kind: "container", name, urns: [urn] });
      continue;
    }
    // A container that never ran has no id of a network yet.
    const attached = Object.values(found.NetworkSettings?.Networks ?? {}).map(({ NetworkID }) => NetworkID);
    const isAttached = attached.some((each) => each === network?.id || each === "");
    if (!hasNetwork) unusable.push({ urn, id, name, problem: "is on a network that is gone" });
    else if (!isAttached) unusable.push({ urn, id, name, problem: "was taken off its network" });
    else if (found.State === "dead") unusable.push({ urn, id, name, problem: "could not be removed by the engine" });
    else if (STARTABLE.has(found.State)) stopped.push({ urn, id, name, problem: "is stopped" });
    else if (found.State === "paused") stopped.push({ urn, id, name, problem: "is paused" });
    else if (name === maintenance && unhealthyOnes.some(({ Id }) => Id === id) && (await isUnhealthy(id)))
      unhealthy.push({ urn, id, name, problem: "is unhealthy" });
  }
  if (network && !hasNetwork) gone.push({ kind: "network", name: networkName, urns: [network.urn] });
  for (const { urn, id } of recorded("image")) if (!tags.has(id)) gone.push({ kind: "image", name: id, urns: [urn] });

  for (const { urn, id } of recorded("volume")) {
    if (volumes.has(id) || id === dataVolume) continue;
    const files = recorded("files").filter((resource) => resource.id === id);
    gone.push({ kind: "volume", name: id, urns: [urn, ...files.map((resource) => resource.urn)] });
  }
  const order = ({ name }: DamagedContainer) => (name === postgres ? 0 : name === pgbouncer ? 1 : 2);
  const lostData = await findLostData();
  // Without its data, Pulumi makes the server's container again, and maintenance with it, whatever their states are.
  const startable = lostData ? stopped.filter(({ name }) => name !== postgres) : stopped;
  const inOrder = startable.toSorted((a, b) => order(a) - order(b));
  return { stopped: inOrder, unusable, unhealthy: lostData ? [] : unhealthy, gone, lostData };

  async function isUnhealthy(id: string): Promise<boolean> {
    const info = await inspect(docker, id);
    return info !== undefined && (await healthNow(docker, info)) === "unhealthy";
  }

  async function findLostData(): Promise<LostData | undefined> {
    const data = recorded("volume").find(({ id }) => id === dataVolume);
    // A refresh by hand may have taken the volume out of the state, and left what lived in it.
    const root = data ?? recorded("superuser")[0];
    if (root === undefined) return undefined;
    const inMemory = (data?.inputs?.["driverOpts"] as { type?: string } | undefined)?.type === "tmpfs";
    const lost: LostData = { volume: dataVolume, urn: root.urn, inMemory };
    if (!volumes.has(dataVolume)) return lost;
    if (!inMemory || recorded("superuser").length === 0) return undefined;
    const server = containers.find(({ Names }) => Names.includes(`/${postgres}`));
    if (server?.State === "paused") return undefined;
    // A server that was started again has a new cluster, in which nobody has set a password yet.
    return server?.State === "running" && (await hasPassword(docker, postgres)) ? undefined : lost;
  }
}

/** A line for each thing that is not as the state says, with what `up` does about it. */
export function describeDamage({ stopped, unusable, unhealthy, gone, lostData }: Damage): string[] {
  const lost = lostData?.inMemory
    ? `the data of volume ${lostData.volume} was in memory and went with its container: roles, database and schema are made again`
    : `data volume ${lostData?.volume} is gone, and with it the data`;
  return [
    ...(lostData ? [lost] : []),
    ...gone.map(({ kind, name }) => `${kind} ${name} is gone: it is made again`),
    ...unusable.map(({ name, problem }) => `container ${name} ${problem}: it is made again`),
    ...stopped.map(({ name, problem }) => `container ${name} ${problem}: it is started`),
    ...unhealthy.map(({ name, problem }) => `container ${name} ${problem}: it is started again`),
  ];
}
