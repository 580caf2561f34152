import { nextPhase, START, type RotationState } from "../../../certs/rotation.ts";
import { changedProperties, type Properties, type ResourceType } from "../resource.ts";

/** Input `step`: any change is one phase further. Outputs as in `RotationState`. */
export const authorityRotation: ResourceType = {
  diff: (olds: Properties, news: Properties) => ({ changed: changedProperties(olds, news) }),
  plan: (olds) => ({ ...(olds["phase"] === undefined ? START : nextPhase(olds as RotationState)) }),
  create: async () => ({ id: "authority-rotation", outputs: { ...START } }),
  update: async (_id, olds) => ({ ...nextPhase(olds as RotationState) }),
};
