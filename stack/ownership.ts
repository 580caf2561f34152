import type Docker from "dockerode";
import { engineNames } from "../infra/settings/names.ts";
import { findIdentity, idOf, makerOf } from "../infra/provider/stack-identity.ts";
import type { StateError } from "../base/errors.ts";
import { type KnownState, resourcesOf } from "./backend.ts";
import { TYPES } from "./engine-damage.ts";
import { listObjects } from "./engine-objects.ts";
import { refusal } from "./refusal.ts";

/**
 * Who made the objects of a stack's name on the engine:
 *
 * - "free": there are none that keep this state from the name.
 * - "mine": this state made them.
 * - "another": another state made them, and says who that was.
 * - "data": there is only a volume with data, and this state knows nothing of it.
 * - "unknown": an earlier release made them, which did not write down for whom.
 */
export type Ownership =
  | { readonly kind: "free" | "data" | "unknown" }
  | {
      readonly kind: "mine";
      /** What the stack on the engine says, where the state has no identity yet: the state's is to be the same. */
      readonly identity?: string;
    }
  | { readonly kind: "another"; readonly madeBy: string };

/**
 * Finds out who made the stack on the engine. Every state writes its identity into the stack's volumes and on its
 * network, and this identity decides. Earlier releases wrote none. For their objects and states, the random ids of
 * containers and networks in the state decide.
 */
export async function readOwnership(docker: Docker, stack: string, state: KnownState): Promise<Ownership> {
  const [objects, found] = await Promise.all([listObjects(docker, stack), findIdentity(docker, stack)]);
  const resources = resourcesOf(state);
  const servers = objects.containers.filter(({ isHelper }) => !isHelper);
  const known = new Set(resources.map(({ id }) => id));
  const isNamed = [...servers, ...objects.networks].some(({ id }) => known.has(id));
  const own = resources.find(({ type }) => type === TYPES.identity)?.id;
  if (found !== undefined) {
    if (idOf(found) === own) return { kind: "mine" };
    return own === undefined && isNamed
      ? { kind: "mine", identity: found.trim() }
      : { kind: "another", madeBy: makerOf(found) };
  }
  if (isNamed) return { kind: "mine" };
  if (servers.length + objects.networks.length > 0) return { kind: "unknown" };
  // The id of a volume is its name, which every state of the stack's name may know. A state made the volumes if it had
  // the network, or has set a password in the data.
  const madeThem = resources.some(({ type }) => type === TYPES.network || type === TYPES.superuser);
  return { kind: objects.volumes.includes(engineNames(stack).dataVolume) && !madeThem ? "data" : "free" };
}

/**
 * The error for a user whose state does not know the stack on the engine.
 *
 * @param remedy for a user whose state is lost
 */
export async function notOurs(
  docker: Docker,
  stack: string,
  state: KnownState,
  ownership: Ownership,
  remedy: string,
): Promise<StateError> {
  const { containers, networks, volumes } = await listObjects(docker, stack);
  const forget = `To forget your own state of it, and nothing else: \`aiwdb pulumi --stack ${stack} -- stack rm --force --yes\`.`;
  const advice = `Leave it to its owner, and choose another name by --stack. ${remedy}`;
  return refusal(`Stack "${stack}" on this engine is not the one of your state`, {
    subject: [...[...containers, ...networks].map(({ name }) => name), ...volumes].join(", "),
    problem: describeOwner(ownership),
    remedy: state.kind === "none" ? advice : `${advice} ${forget}`,
  });
}

/** The owner as the end of a sentence that begins with the objects' names. */
export function describeOwner(ownership: Ownership): string {
  if (ownership.kind === "another") return `belong to a state that is not here, made by ${ownership.madeBy}`;
  return ownership.kind === "data"
    ? "hold data, and your state knows nothing of them"
    : "are of a release that did not write down whose they are, and your state does not know them";
}
