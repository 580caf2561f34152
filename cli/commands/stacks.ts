import { findEngine } from "../../toolchain/engine/find.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { messageOf, UnknownError } from "../../base/errors.ts";
import { backendUrl } from "../../stack/backend.ts";
import { containersByStack, type ContainerCount } from "../../stack/engine-objects.ts";
import { knownStacks, type KnownStack } from "../../stack/known-stacks.ts";
import { jsonArgument } from "../arguments.ts";
import { command } from "../command.ts";

export const examples = ["aiwdb stacks", "aiwdb stacks --json"];

/** A stack, and what of it is on the engine. */
interface ListedStack extends KnownStack {
  readonly containers: ContainerCount | "unknown";
}

export default command({
  args: jsonArgument,
  async run({ output }) {
    const unknown = [];
    const known = knownStacks();
    if (known === undefined)
      unknown.push({
        subject: "state",
        problem: `is kept in ${backendUrl()}`,
        remedy: "Ask there: `aiwdb pulumi --stack <any of them> -- stack ls`.",
      });
    const containers = await onEngine().catch((error: unknown) => {
      unknown.push({ subject: "Docker Engine", problem: messageOf(error) });
      return undefined;
    });
    const names = new Set([...(known ?? []).map(({ stack }) => stack), ...(containers?.keys() ?? [])]);
    const stacks = [...names].toSorted().map((stack): ListedStack => {
      const { hasState = false, hasSettings = false } = known?.find((each) => each.stack === stack) ?? {};
      return {
        stack,
        hasState,
        hasSettings,
        containers: containers === undefined ? "unknown" : (containers.get(stack) ?? { running: 0, all: 0 }),
      };
    });
    const width = Math.max(...stacks.map(({ stack }) => stack.length));
    for (const each of stacks) output.text(`${each.stack.padEnd(width)}  ${describe(each)}`);
    const result = { stacks, unknown };
    if (unknown.length > 0) throw new UnknownError("Not everything could be looked at:", unknown, { result });
    output.json(result);
  },
});

/** Containers by stack; none where there is no engine. */
async function onEngine(): Promise<Map<string, ContainerCount>> {
  const engine = await findEngine();
  return engine === undefined ? new Map() : await containersByStack(engineClient(engine));
}

function describe({ hasState, hasSettings, containers }: ListedStack): string {
  const running =
    containers === "unknown"
      ? "containers not known"
      : containers.all === 0
        ? "no containers"
        : `${containers.running} of ${containers.all} containers run`;
  return [hasState ? "state" : "no state", hasSettings ? "settings file" : "no settings file", running].join(", ");
}
