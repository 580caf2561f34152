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

/**
 * Says which state a stack on an engine belongs to: names alone do not, since every user has a `dev`. The network has the id as
 * a label, the volumes of configuration as a file.
 *
 * No inputs; the id is random, output `madeBy` is "user@host".
 */
export const stateIdentity: ResourceType = {
  create: async () => ({ id: randomUUID(), outputs: { madeBy: madeBy() } }),
  update: async () => {},
};
