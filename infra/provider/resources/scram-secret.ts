import { scramSecret } from "../../../database/scram.ts";
import { byTheSame, type ResourceType } from "../resource.ts";

export interface ScramSecretInputs {
  /** Secret. */
  readonly password: string;
  readonly iterations: number;
}

export interface ScramSecretOutputs {
  /** Secret. */
  readonly secret: string;
}

/**
 * What PostgreSQL stores for a password: statements carry it instead of the password. Its salt is random, so it is made
 * once and kept in the state; a new one only when an input changes.
 *
 * No salt is derived from the password: the server tells it to whoever begins to log in.
 */
export const scramSecretResource: ResourceType<ScramSecretInputs, ScramSecretOutputs> = {
  ...byTheSame(
    () => "made",
    async ({ password, iterations }) => ({ secret: scramSecret(password, iterations) }),
  ),
};
