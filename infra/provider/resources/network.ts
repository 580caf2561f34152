import type Docker from "dockerode";
import { StateError } from "../../../base/errors.ts";
import { ACTION_MS, engine, ifFound, within } from "../../../toolchain/engine/containers.ts";
import { STATE_LABEL } from "../../settings/names.ts";
import { changedProperties, type Planned, type ResourceType } from "../resource.ts";

export interface NetworkInputs {
  readonly name: string;
  readonly subnet: string;
  readonly gateway: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What the engine says of a network, by its name or id; undefined if there is none. */
export function inspectNetwork(
  docker: Docker,
  network: string,
  signal: AbortSignal | undefined,
): Promise<Docker.NetworkInspectInfo | undefined> {
  const ask = () => docker.getNetwork(network).inspect();
  return ifFound(within(`tell about network ${network}`, ACTION_MS, ask, signal));
}

/** What the engine has, in the form of the inputs. */
function toInputs({ Name, IPAM, Labels }: Docker.NetworkInspectInfo): NetworkInputs {
  const { Subnet = "", Gateway = "" } = IPAM?.Config?.[0] ?? {};
  return { name: Name, subnet: Subnet, gateway: Gateway, labels: Labels ?? {} };
}

/** A network without the state's label. Networks of older releases have none, and get no replacement because of it. */
function withoutState({ labels, ...rest }: Planned<NetworkInputs>): object {
  return { ...rest, labels: Object.fromEntries(Object.entries(labels).filter(([name]) => name !== STATE_LABEL)) };
}

/** Whether both networks say whose they are, and it is not the same state. */
const isAnothers = (found: NetworkInputs, { labels }: NetworkInputs): boolean =>
  found.labels[STATE_LABEL] !== undefined && found.labels[STATE_LABEL] !== labels[STATE_LABEL];

/**
 * A bridge network with a subnet of its own. The Docker provider's network waits for two seconds after it was made, at
 * every refresh, and after it was removed (docs/adr/0020-performance.md).
 *
 * Any change makes a new network, except a change of the state's label. The id is the engine's.
 */
export const network: ResourceType<NetworkInputs> = {
  diff(olds, news) {
    const changed = changedProperties(withoutState(olds), withoutState(news));
    return { changed, replaces: changed };
  },
  async create(inputs, { signal }) {
    const docker = engine();
    const found = await inspectNetwork(docker, inputs.name, signal);
    if (found) {
      // A run that was cut off may have made this network without recording it. A network of somebody else is left
      // alone.
      const has = toInputs(found);
      const others = isAnothers(has, inputs);
      if (!others && changedProperties(withoutState(has), withoutState(inputs)).length === 0)
        return { id: found.Id, outputs: {} };
      throw new StateError(`Network ${inputs.name} exists on the engine and is not this stack's.`, [
        {
          subject: inputs.name,
          problem: others ? "belongs to another state's stack of this name" : "has other settings or labels",
          remedy: others ? "Choose another stack name." : "Remove it, or rename the stack.",
        },
      ]);
    }
    const make = (options: object) =>
      docker.createNetwork({
        Name: inputs.name,
        CheckDuplicate: true,
        Driver: "bridge",
        IPAM: { Driver: "default", Config: [{ Subnet: inputs.subnet, Gateway: inputs.gateway }] },
        Labels: { ...inputs.labels },
        ...options,
      });
    const { id } = await within(`make network ${inputs.name}`, ACTION_MS, make, signal);
    return { id, outputs: {} };
  },
  async read(id, state, { signal }) {
    const found = await inspectNetwork(engine(), id, signal);
    return found && { ...state, ...toInputs(found) };
  },
  async update() {
    throw new Error("a network is never changed, but replaced");
  },
  async delete(id, _state, { signal }) {
    const remove = (options: object) => engine().getNetwork(id).remove(options);
    await ifFound(within(`remove network ${id}`, ACTION_MS, remove, signal));
  },
};
