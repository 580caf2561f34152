import type Docker from "dockerode";
import type { StackConfig } from "../infra/settings/table.ts";
import { describeDamage, findDamage } from "./engine-damage.ts";
import { findFrozen } from "./freeze.ts";
import { describeForgotten, describeLostDatabase, findForgotten, findLostDatabase, readHistory } from "./history.ts";
import { describeOwner, readOwnership } from "./ownership.ts";
import type { Session } from "./pulumi-run.ts";
import { readState } from "./session.ts";

/**
 * Looks at the engine and the database for what `up` would mend or refuse, of which Pulumi's plan knows nothing.
 *
 * @returns one sentence for each
 * @throws ToolError when the engine or the server does not answer
 */
export async function findRepairs(
  docker: Docker,
  { stack, databaseName }: StackConfig,
  session: Session,
): Promise<string[]> {
  const known = await readState(session);
  const [ownership, frozen, damage, history] = await Promise.all([
    readOwnership(docker, stack, known),
    findFrozen(docker, stack, databaseName),
    findDamage(docker, stack, known),
    readHistory(docker, stack, databaseName),
  ]);
  const forgotten = findForgotten(known, history);
  const lostDatabase = findLostDatabase(known, history);
  return [
    ...(ownership.kind === "free" || ownership.kind === "mine"
      ? []
      : [`\`up\` will be refused: the objects of stack "${stack}" on this engine ${describeOwner(ownership)}`]),
    ...frozen.map(({ subject, problem }) => `\`up\` will be refused: ${subject} ${problem}`),
    ...describeDamage(damage),
    ...(lostDatabase ? [describeLostDatabase(lostDatabase)] : []),
    ...(forgotten ? [describeForgotten(forgotten)] : []),
  ];
}
