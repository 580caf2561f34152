import { nextPhase, type RotationState, START } from "../../../certs/rotation.ts";
import { changedProperties, type ResourceType } from "../resource.ts";

export interface AuthorityRotationInputs {
  /** Any change is one phase further. */
  readonly step?: string | undefined;
}

/**
 * The phase of an authority's replacement. It is kept in the state, so that every machine and plain `pulumi up` agree
 * on it.
 */
export const authorityRotation: ResourceType<AuthorityRotationInputs, RotationState> = {
  diff: (olds, news) => ({ changed: changedProperties(olds, news) }),
  plan: (olds) => (olds.phase === undefined ? START : nextPhase({ ...START, ...olds })),
  create: async () => ({ id: "authority-rotation", outputs: START }),
  update: async (_id, olds) => nextPhase({ ...START, ...olds }),
};
