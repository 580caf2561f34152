/**
 * Replaces a certificate authority in three phases, each one run of `up`. What is in force is in the stack's state, so
 * that every machine and a plain `pulumi up` agree.
 */

/** The two places for an authority: one signs, the other is empty, or is on its way in or out. */
export type Place = "first" | "second";

/** How far a replacement is. */
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

/** Where every stack begins. */
export const START: RotationState = {
  phase: 0,
  signer: "first",
  trusted: ["first"],
  firstGeneration: 1,
  secondGeneration: 1,
};

/** A step that goes no further: a run with it only finishes what an earlier one left undone. */
export const HOLD = "hold";

/**
 * One phase further. Between any two neighbours, whatever part of a phase was carried out before it was cut off, both
 * sides of a connection trust each other: a certificate is used only after its authority is trusted everywhere, and an
 * authority is taken away only after none of its certificates is used.
 */
export function nextPhase({ phase, signer, ...state }: RotationState): RotationState {
  // Nothing but these: what else the state has, the step among it, is an input.
  const { firstGeneration, secondGeneration } = state;
  const generations = { firstGeneration, secondGeneration };
  const other = otherPlace(signer);
  switch (phase) {
    case 0:
      generations[`${other}Generation`] += 1;
      return { phase: 1, signer, trusted: [signer, other], ...generations };
    case 1:
      return { phase: 2, signer: other, trusted: [other, signer], ...generations };
    default:
      return { phase: 0, signer, trusted: [signer], ...generations };
  }
}

/** The place that does not sign. */
export function otherPlace(signer: Place): Place {
  return signer === "first" ? "second" : "first";
}

/** Logical name of a place's authority, below the component that has all certificates. */
export function authorityName(certificates: string, place: Place): string {
  return place === "first" ? `${certificates}-ca` : `${certificates}-second-ca`;
}
