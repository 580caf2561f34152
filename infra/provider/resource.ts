import { isDeepStrictEqual } from "node:util";

/** Before the name in every type token of the package. */
export const TYPE_PREFIX = "aiwdb:index:";

/** Stands for a value that is not known yet, in previews. Fixed by Pulumi's protocol. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** Inputs in a preview: each may be unknown, and inside one that is known there may be unknown values too. */
export type Planned<Inputs> = { readonly [Key in keyof Inputs]: Inputs[Key] | typeof UNKNOWN };

/** A resource as the state has it. A resource of an older release lacks outputs and inputs that came later. */
export type Recorded<Inputs, Outputs> = Inputs & Partial<Outputs>;

/** No properties at all. */
export type None = Readonly<Record<never, never>>;

/** What a resource may tell the user while it works. */
export interface Reporter {
  /** A line in the progress display that the next one replaces. */
  status(message: string): void;
  /** A line that stays. */
  info(message: string): void;
  warn(message: string): void;
}

/**
 * What the user said for this run of Pulumi only. A program gives it to a resource as the input `run`. The provider
 * takes it away before the engine records it. In the state it would hold for later runs too, and a later `pulumi
 * destroy` could remove another user's stack.
 */
export interface RunOptions {
  /** The state that the stack on the engine belongs to is lost: what is there is this state's from now on. */
  readonly takeOver?: boolean | undefined;
  /** Identity of a stack whose state has none yet: "<id> <user>@<host>". */
  readonly stateIdentity?: string | undefined;
}

/** What an operation gets from whoever asks for it. */
export interface Operation {
  readonly report: Reporter;
  /** Aborted when the user stops Pulumi: what runs ends in order, and nothing more is begun. */
  readonly signal: AbortSignal;
  readonly run: RunOptions;
}

export interface Failure {
  readonly property: string;
  readonly reason: string;
}

export interface Difference {
  /** Properties that differ; none: nothing to do. */
  readonly changed: readonly string[];
  /** Those of them that need a new resource. */
  readonly replaces?: readonly string[];
}

/**
 * One resource type of the provider. `Inputs` declares what a program gives it; its class in infra/resources.ts takes
 * them from here. The state is the inputs plus `Outputs`, which `create` and `update` return.
 *
 * Every operation may be cut off and run again. It must reach its end from whatever the last one left.
 */
export interface ResourceType<Inputs extends object, Outputs extends object = None> {
  /** Refuses inputs at preview. `olds` is the state before, `{}` for a new resource. */
  check?(
    news: Planned<Inputs>,
    olds: Partial<Recorded<Inputs, Outputs>>,
    operation: Operation,
  ): Promise<Failure[]> | Failure[];
  /** Default: every input that is not equal to the state's. */
  diff?(olds: Recorded<Inputs, Outputs>, news: Planned<Inputs>, operation: Operation): Promise<Difference> | Difference;
  /**
   * Outputs that are known before anything is done, for previews. `olds` is as in `check`. Default: none. A resource
   * that depends on an unknown output shows as changed, and stops the preview if it is protected.
   */
  plan?(olds: Partial<Recorded<Inputs, Outputs>>, news: Planned<Inputs>): Partial<Planned<Outputs>>;
  create(inputs: Inputs, operation: Operation): Promise<{ id: string; outputs: Outputs }>;
  /** The state as it really is; undefined: the resource is gone. Default: as recorded. */
  read?(
    id: string,
    state: Recorded<Inputs, Outputs>,
    operation: Operation,
  ): Promise<Recorded<Inputs, Outputs> | undefined>;
  /** Outputs that it does not return stay as they are. */
  update(id: string, olds: Recorded<Inputs, Outputs>, news: Inputs, operation: Operation): Promise<Outputs | void>;
  delete?(id: string, state: Recorded<Inputs, Outputs>, operation: Operation): Promise<void>;
}

/** `create` and `update` of a resource for which both do the same work. */
export function byTheSame<Inputs extends object, Outputs extends object>(
  idOf: (inputs: Inputs) => string,
  work: (inputs: Inputs, operation: Operation) => Promise<Outputs>,
): Pick<ResourceType<Inputs, Outputs>, "create" | "update"> {
  return {
    create: async (inputs, operation) => ({ id: idOf(inputs), outputs: await work(inputs, operation) }),
    update: (_id, _olds, news, operation) => work(news, operation),
  };
}

/** A resource type as the protocol knows it, which carries plain JSON and no types. */
export type AnyResourceType = ResourceType<object, object>;

/** Names of inputs whose value in `news` is not the one in `olds`. */
export function changedProperties(olds: object, news: object, except: readonly string[] = []): string[] {
  const before = new Map<string, unknown>(Object.entries(olds));
  return Object.entries(news)
    .filter(([key, value]) => !except.includes(key) && !isDeepStrictEqual(before.get(key), value))
    .map(([key]) => key);
}
