import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { stacksWithSettings } from "../infra/settings/places.ts";
import { ephemeralKind } from "../infra/settings/profile.ts";
import { UsageError } from "../base/errors.ts";
import { stateFile } from "./backend.ts";

/** A stack with a state in this user's folder, with a settings file in the checkout, or with both. */
export interface KnownStack {
  readonly stack: string;
  readonly hasState: boolean;
  readonly hasSettings: boolean;
}

/** Every stack, sorted by name; undefined where the states are elsewhere, so that only the backend knows them. */
export function knownStacks(): KnownStack[] | undefined {
  const folder = stateFile("any");
  if (folder === undefined) return undefined;
  const states = statesIn(path.dirname(folder));
  const settings = new Set(stacksWithSettings());
  const names = [...new Set([...states, ...settings])].toSorted();
  return names.map((stack) => ({ stack, hasState: states.has(stack), hasSettings: settings.has(stack) }));
}

function statesIn(folder: string): Set<string> {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return new Set(names.flatMap((name) => /^(.+)\.json$/.exec(name)?.[1] ?? []));
}

/**
 * Refuses a name that no stack has, for example a misspelt one, before anything is made or looked for.
 *
 * @param orNew whether new stacks named ci-… and pr-… are allowed too
 * @throws UsageError naming the stacks there are
 */
export function requireStack(stack: string, { orNew = false } = {}): void {
  const known = knownStacks();
  const isEphemeral = ephemeralKind(stack) !== undefined;
  if (known === undefined || known.some((each) => each.stack === stack) || (orNew && isEphemeral)) return;
  const names = known.map((each) => each.stack).join(", ");
  const remedy = isEphemeral
    ? `\`aiwdb up --stack ${stack}\` makes it.`
    : `For a new stack write Pulumi.${stack}.yaml, which may be empty; names that begin with ci- or pr- need none.`;
  throw new UsageError(`There is no stack "${stack}"; there ${known.length === 1 ? "is" : "are"} ${names}.`, [
    { subject: "--stack", problem: "names a stack without a state and without a settings file", remedy },
  ]);
}
