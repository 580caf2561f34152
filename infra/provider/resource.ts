/** Properties of a resource as the engine hands them over: plain JSON; secrets already opened. */
export type Properties = Record<string, any>;

/** Stands for a value that is not known yet, in previews. Fixed by Pulumi's protocol. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** What a resource may tell the user while it works. */
export interface Reporter {
  /** A line in the progress display that the next one replaces. */
  status(message: string): void;
  /** A line that stays. */
  info(message: string): void;
  warn(message: string): void;
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
 * One resource type of the provider. State is always `inputs` plus what `create` and `update` return.
 *
 * Every operation may be cut off and run again: it must converge from whatever the last one left.
 */
export interface ResourceType {
  /** Refuses inputs at preview. `olds` is the state before, `{}` for a new resource. Values may be UNKNOWN. */
  check?(news: Properties, olds: Properties, report: Reporter): Promise<Failure[]> | Failure[];
  /** Default: every input that is not equal to the state's. Values may be UNKNOWN. */
  diff?(olds: Properties, news: Properties, report: Reporter): Promise<Difference> | Difference;
  /**
   * Outputs that are known before anything is done, for previews; `olds` as in `check`. Default: none. What depends on one that
   * is not known shows as changed, and stops the preview where it is protected.
   */
  plan?(olds: Properties, news: Properties): Properties;
  create(inputs: Properties, report: Reporter): Promise<{ id: string; outputs?: Properties }>;
  /** The state as it really is; undefined: the resource is gone. Default: as recorded. */
  read?(id: string, state: Properties, report: Reporter): Promise<Properties | undefined>;
  update(id: string, olds: Properties, news: Properties, report: Reporter): Promise<Properties | void>;
  delete?(id: string, state: Properties, report: Reporter): Promise<void>;
}

/** Names of inputs whose value in `news` is not the one in `olds`. */
export function changedProperties(olds: Properties, news: Properties, except: readonly string[] = []): string[] {
  return Object.keys(news).filter((key) => !except.includes(key) && !sameJson(olds[key], news[key]));
}

function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
