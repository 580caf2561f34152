import type { Properties, ResourceType } from "../resource.ts";
import { scramSecret } from "../../../database/scram.ts";

const made = ({ password, iterations }: Properties): Properties => ({ secret: scramSecret(password, iterations) });

/**
 * What PostgreSQL stores for a password, output `secret` (secret): statements carry it instead of the password. Its salt is
 * random, so it is made once and kept in the state; a new one only when the input `password` or `iterations` changes.
 *
 * No salt is derived from the password: the server tells it to whoever begins to log in.
 */
export const scramSecretResource: ResourceType = {
  create: async (inputs) => ({ id: "made", outputs: made(inputs) }),
  update: async (_id, _olds, news) => made(news),
};
