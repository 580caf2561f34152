import { Declined, ToolError } from "../base/errors.ts";
import { PROGRAM_VARIABLES } from "../infra/settings/program-variables.ts";
import { findAdoptable } from "./adopt.ts";
import type { Caller } from "./caller.ts";
import type { Session } from "./pulumi-run.ts";
import { effectiveSettings, explain } from "./session.ts";

const ADOPTED_TYPES = ["postgresql:index/role:Role", "postgresql:index/database:Database"];

/** Runs `pulumi up`. A second run adopts objects that exist in the cluster and that the state does not know. */
export async function deploy(session: Session, flags: readonly string[], caller: Caller): Promise<void> {
  const settings = ["--config-file", effectiveSettings(session)];
  const command = ["up", ...session.stackArguments, ...settings, "--suppress-outputs"];
  const up = (env: NodeJS.ProcessEnv, more: readonly string[]) =>
    caller.pulumi({ ...session, env }, [...command, ...more]);
  const first = await up(session.env, flags);
  if (first.exitCode === 0) return;
  if (first.isStopped)
    throw new ToolError(
      `\`up\` was stopped; what was done is kept, and the next \`up\` of stack "${session.stack}" goes on from there.`,
    );
  const explained = explain(session, first.stderr);
  if (explained) throw explained;
  if (/confirmation declined/i.test(first.stderr)) throw new Declined("Pulumi has changed nothing."); // earlier lines tell what `up` mended before
  // A run that was killed after it made a role, or a state that was lost, leaves objects that now "already exist". We
  // ask the server for them, because Pulumi names them on the user's terminal only.
  const adoptable = await findAdoptable(session);
  if (adoptable.length > 0) {
    caller.warn(`taking over what is in the database without being in the state: ${adoptable.join(", ")}`);
    // The import compares what is there. The run after it sets what differs, such as passwords. Neither asks the user
    // again.
    const again = ["--yes", "--skip-preview"];
    const targets = ADOPTED_TYPES.flatMap((type) => ["--target", `**${type}**`]);
    const env = { ...session.env, [PROGRAM_VARIABLES.adopt]: adoptable.join(",") };
    const adopted = await up(env, [...again, ...targets]);
    if (adopted.exitCode === 0 && (await up(session.env, again)).exitCode === 0) return;
  }
  throw new ToolError(
    `\`pulumi up\` failed for stack "${session.stack}"; what was created before is kept, and the next \`up\` goes on from there.`,
  );
}
