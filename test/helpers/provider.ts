import type { AnyResourceType, Difference, Failure, Operation, Reporter } from "../../infra/provider/resource.ts";

/** Properties as the engine hands them over: plain JSON from a program or from an older state. */
export type Properties = Record<string, any>;

/** A resource type as the engine calls it. */
export interface Called {
  readonly check?: (news: Properties, olds: Properties, report: Reporter) => Promise<Failure[]> | Failure[];
  readonly diff?: (olds: Properties, news: Properties, report: Reporter) => Promise<Difference> | Difference;
  readonly plan?: (olds: Properties, news: Properties) => Properties;
  readonly create: (inputs: Properties, report: Reporter) => Promise<{ id: string; outputs: Properties }>;
  readonly read?: (id: string, state: Properties, report: Reporter) => Promise<Properties | undefined>;
  readonly update: (id: string, olds: Properties, news: Properties, report: Reporter) => Promise<Properties | void>;
  readonly delete?: (id: string, state: Properties, report: Reporter) => Promise<void>;
}

/** Calls a resource type as the engine does. The user stops nothing and gives no options for the run. */
export function called({ check, diff, plan, create, read, update, delete: remove }: AnyResourceType): Called {
  const operation = (report: Reporter): Operation => ({
    report,
    signal: new AbortController().signal,
    run: { takeOver: false },
  });
  return {
    ...(check && { check: (news, olds, report) => check(news, olds, operation(report)) }),
    ...(diff && { diff: (olds, news, report) => diff(olds, news, operation(report)) }),
    ...(plan && { plan: (olds, news) => plan(olds, news) }),
    create: (inputs, report) => create(inputs, operation(report)),
    ...(read && { read: (id, state, report) => read(id, state, operation(report)) }),
    update: (id, olds, news, report) => update(id, olds, news, operation(report)),
    ...(remove && { delete: (id, state, report) => remove(id, state, operation(report)) }),
  };
}

/** Remembers what a resource told the user. */
export function recorder(): Reporter & { readonly lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    status: (message) => lines.push(message),
    info: (message) => lines.push(message),
    warn: (message) => lines.push(message),
  };
}
