import { randomUUID } from "node:crypto";
import { hostname, userInfo } from "node:os";
import { engine } from "../../../toolchain/engine/containers.ts";
import { changedProperties, type ResourceType } from "../resource.ts";
import { idOf, makerOf, refuseAnothers } from "../stack-identity.ts";

/** For people: several of them may use one engine. */
function madeBy(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return `user ${process.getuid?.() ?? "?"}@${hostname()}`; // a container's user without a name
  }
}

/** Set by `aiwdb up` for a state of an older backup, whose stack has an identity already: "<id> <user>@<host>". */
const GIVEN = process.env["AIWDB_STATE_IDENTITY"];

/**
 * Says which state a stack on an engine belongs to: names alone do not, since every user has a `dev`. The network has the id as
 * a label, the volumes of configuration and the data have it as a file. Everything on the engine depends on it, so that nothing
 * of another state's stack is touched: `create` and `diff` refuse.
 *
 * Input `stack`; the id is random; outputs `stateId`, which is the id, and `madeBy`, "user@host".
 */
export const stateIdentity: ResourceType = {
  async diff(olds, news) {
    await refuseAnothers(engine(), news["stack"], olds["stateId"]);
    return { changed: changedProperties(olds, news) };
  },
  async create({ stack }) {
    const given = GIVEN === undefined ? undefined : idOf(GIVEN);
    await refuseAnothers(engine(), stack, given);
    const id = given ?? randomUUID();
    return { id, outputs: { stateId: id, madeBy: GIVEN === undefined ? madeBy() : makerOf(GIVEN) } };
  },
  update: async (_id, { stateId, madeBy: before }) => ({ stateId, madeBy: before }),
};
