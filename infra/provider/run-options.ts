/** Set by `aiwdb up --reset-passwords` and `aiwdb down --take-over`: the user said that the other state is lost. */
export const TAKE_OVER_VARIABLE = "AIWDB_TAKE_OVER";
/** Set by `aiwdb up` for a state of an older backup, whose stack has an identity already: "<id> <user>@<host>". */
export const STATE_IDENTITY_VARIABLE = "AIWDB_STATE_IDENTITY";

/**
 * What the user said for this run of Pulumi only. As inputs of resources they would stay in the state, and `pulumi destroy`
 * runs no program that could hand inputs over.
 */
export interface RunOptions {
  /** The state that the stack on the engine belongs to is lost: what is there is this state's from now on. */
  readonly takeOver: boolean;
  /** Identity of a stack whose state has none yet. */
  readonly stateIdentity?: string | undefined;
}

export const runOptions = (environment: NodeJS.ProcessEnv): RunOptions => ({
  takeOver: environment[TAKE_OVER_VARIABLE] === "1",
  stateIdentity: environment[STATE_IDENTITY_VARIABLE],
});
