import { randomUUID } from "node:crypto";
import { hostname, userInfo } from "node:os";
import { engine } from "../../../toolchain/engine/containers.ts";
import { changedProperties, type ResourceType } from "../resource.ts";
import { idOf, makerOf, refuseAnothers } from "../stack-identity.ts";

export interface StateIdentityInputs {
  readonly stack: string;
}

export interface StateIdentityOutputs {
  /** Random; also the resource's id. */
  readonly stateId: string;
  /** Who made it, as user@host. */
  readonly madeBy: string;
}

/** For people: several of them may use one engine. */
function madeBy(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return `user ${process.getuid?.() ?? "?"}@${hostname()}`; // a container's user without a name
  }
}

/**
 * Says which state a stack on an engine belongs to. A name does not say so: every user has a `dev`. The network has the
 * id as a label. The volumes of configuration and the data have it as a file. Every other object on the engine depends
 * on this resource: `create` and `diff` refuse another state's stack before anything of it is touched.
 */
export const stateIdentity: ResourceType<StateIdentityInputs, StateIdentityOutputs> = {
  async diff(olds, news, operation) {
    await refuseAnothers(engine(), news.stack, olds.stateId, operation);
    return { changed: changedProperties(olds, news) };
  },
  async create({ stack }, operation) {
    const given = operation.run.stateIdentity;
    await refuseAnothers(engine(), stack, given === undefined ? undefined : idOf(given), operation);
    const stateId = given === undefined ? randomUUID() : idOf(given);
    return { id: stateId, outputs: { stateId, madeBy: given === undefined ? madeBy() : makerOf(given) } };
  },
  update: async (id, { stateId = id, madeBy: before = madeBy() }) => ({ stateId, madeBy: before }),
};
