import { randomUUID } from "node:crypto";
import { hostname, userInfo } from "node:os";
import type { ResourceType } from "../resource.ts";

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
 * a label, the volumes of configuration as a file.
 *
 * No inputs; the id is random, output `madeBy` is "user@host".
 */
export const stateIdentity: ResourceType = {
  async create() {
    const [id = randomUUID(), ...rest] = GIVEN?.split(" ") ?? [];
    return { id, outputs: { madeBy: rest.length > 0 ? rest.join(" ") : madeBy() } };
  },
  update: async () => {},
};
