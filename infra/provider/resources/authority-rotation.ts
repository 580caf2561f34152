import { changedProperties, type ResourceType } from "../resource.ts";

/** The two places for an authority: one signs, the other is empty, or is on its way in or out. */
export type Place = "first" | "second";

export interface AuthorityRotationInputs {
  /** Any change is one phase further. */
  readonly step?: string | undefined;
}

/** Outputs of an `AuthorityRotation`. */
export interface RotationState {
  /** 0: one authority. 1: a new one is trusted beside it. 2: the new one signs, and the old one is still trusted. */
  readonly phase: number;
  readonly signer: Place;
  /** Whose certificates are in `ca.crt`, the signer's first. */
  readonly trusted: readonly Place[];
  /** A place gets a new key and certificate whenever its number rises. */
  readonly firstGeneration: number;
  readonly secondGeneration: number;
}

const START: RotationState = { phase: 0, signer: "first", trusted: ["first"], firstGeneration: 1, secondGeneration: 1 };

/**
 * One phase further. Between any two neighbours, whatever part of a phase was carried out before it was cut off, both sides
 * of a connection trust each other: a certificate is used only after its authority is trusted everywhere, and an authority is
 * taken away only after none of its certificates is used.
 */
export function nextPhase({ phase, signer, trusted, firstGeneration, secondGeneration }: RotationState): RotationState {
  // Nothing but these: what else the state has, the step among it, is an input.
  const now: RotationState = { phase, signer, trusted, firstGeneration, secondGeneration };
  const other: Place = now.signer === "first" ? "second" : "first";
  switch (now.phase) {
    case 0:
      return {
        ...now,
        phase: 1,
        trusted: [now.signer, other],
        firstGeneration: now.firstGeneration + (other === "first" ? 1 : 0),
        secondGeneration: now.secondGeneration + (other === "second" ? 1 : 0),
      };
    case 1:
      return { ...now, phase: 2, signer: other, trusted: [other, now.signer] };
    default:
      return { ...now, phase: 0, trusted: [now.signer] };
  }
}

/**
 * Replaces the certificate authority in three phases, each one run of `up`. What is in force is in the state, so that every machine and a plain `pulumi up` agree.
 */
export const authorityRotation: ResourceType<AuthorityRotationInputs, RotationState> = {
  diff: (olds, news) => ({ changed: changedProperties(olds, news) }),
  plan: (olds) => (olds.phase === undefined ? START : nextPhase({ ...START, ...olds })),
  create: async () => ({ id: "authority-rotation", outputs: START }),
  update: async (_id, olds) => nextPhase({ ...START, ...olds }),
};
