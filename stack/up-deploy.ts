import { Declined, ToolError } from "../base/errors.ts";
import { PROGRAM_VARIABLES } from "../infra/settings/program-variables.ts";
import { findAdoptable } from "./adopt.ts";
import type { Caller } from "./caller.ts";
import type { Session } from "./pulumi-run.ts";
import { effectiveSettings, explain } from "./session.ts";

const ADOPTED_TYPES = ["postgresql:index/role:Role", "postgresql:index/database:Database"];

/** Runs `pulumi up`; objects that exist in the cluster without the state knowing them are adopted by a second run. */
export async function deploy(session: Session, flags: readonly string[], caller: Caller): Promise<void> {
  const up = (env: NodeJS.ProcessEnv, more: readonly string[]) =>
    caller.pulumi({ ...session, env }, [
      "up",
      ...session.stackArguments,
      "--config-file",
      effectiveSettings(session),
      "--suppress-outputs",
      ...more,
    ]);
  const first = await up(session.env, flags);
  if (first.exitCode === 0) return;
  if (first.isStopped)
    throw new ToolError(
      `\`up\` was stopped; what was done is kept, and the next \`up\` of stack "${session.stack}" goes on from there.`,
    );
  const explained = explain(session, first.stderr);
  if (explained) throw explained;
  if (/confirmation declined/i.test(first.stderr)) throw new Declined("Pulumi has changed nothing."); // what was mended before it is told above
  // A run that was killed after creating a role, or a state that was lost, leaves what now "already exists". Asked of the
  // server: Pulumi says it on a terminal that is not ours to read.
  const adoptable = await findAdoptable(session);
  if (adoptable.length > 0) {
    caller.warn(`taking over what is in the database without being in the state: ${adoptable.join(", ")}`);
    // Importing compares what is there; the run after it sets what differs, passwords among it. Nobody is asked twice.
    const again = ["--yes", "--skip-preview"];
    const adopted = await up({ ...session.env, [PROGRAM_VARIABLES.adopt]: adoptable.join(",") }, [
      ...again,
      ...ADOPTED_TYPES.flatMap((type) => ["--target", `**${type}**`]),
    ]);
    if (adopted.exitCode === 0 && (await up(session.env, again)).exitCode === 0) return;
  }
  throw new ToolError(
    `\`pulumi up\` failed for stack "${session.stack}"; what was created before is kept, and the next \`up\` goes on from there.`,
  );
}
