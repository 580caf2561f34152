import type Docker from "dockerode";
import { PROJECT } from "../infra/settings/names.ts";
import { ACTION_MS, within } from "../toolchain/engine/containers.ts";
import { startAndWait, type ContainerReadyInputs } from "../infra/provider/resources/container-ready.ts";
import { StateError } from "../base/errors.ts";
import type { Report } from "../base/progress.ts";
import { type KnownState, resourcesOf } from "./backend.ts";
import { type Damage, describeDamage, TYPES } from "./engine-damage.ts";
import { removeContainer } from "./engine-objects.ts";
import type { LostDatabase } from "./history.ts";
import type { Session } from "./pulumi-run.ts";
import { effectiveSettings, readState, runPulumi } from "./session.ts";

/** Takes a lost database out of the state, with all that was in it. The next run of Pulumi makes it. */
export async function forgetDatabase(session: Session, { urn, name }: LostDatabase): Promise<void> {
  await forget(session, urn, `what was in database ${name} could not be taken out of the state`);
}

/**
 * Brings the engine and the state together again. The state forgets what is gone, so that a `pulumi up` after it makes
 * it. A container that is only stopped is started, and an unhealthy maintenance container is started again.
 *
 * Every step can be cut off and run again. No step removes a volume.
 *
 * @throws ToolError, StateError when a step fails
 */
export async function heal(
  session: Session,
  docker: Docker,
  state: KnownState,
  damage: Damage,
  report: Report,
): Promise<void> {
  for (const line of describeDamage(damage)) report(line);
  const { lostData, unusable, unhealthy, gone, stopped } = damage;
  if (lostData) {
    // With the volume go all that lives in it and all that is mounted on it: roles, database, schema, the server's
    // container. What of it is still on the engine is then an orphan, and Pulumi makes all of it again.
    const failed = `what lived in volume ${lostData.volume} could not be taken out of the state`;
    await forget(session, lostData.urn, failed);
  }
  const before = resourcesOf(state);
  const known = new Set(resourcesOf(lostData ? await readState(session) : state).map(({ urn }) => urn));
  const mounted = before.filter(({ urn, type }) => type === TYPES.container && !known.has(urn));
  for (const { id } of [...unusable, ...mounted]) if (id) await removeContainer(docker, id);
  const forgotten = [...gone.flatMap(({ urns }) => urns), ...unusable.map(({ urn }) => urn)];
  const remaining = forgotten.filter((urn) => known.has(urn));
  if (remaining.length > 0) await refresh(session, remaining);
  for (const { name } of stopped.filter(({ urn }) => known.has(urn))) {
    // The resource that says how one sees that the container is ready.
    const gate = before.find(({ type, inputs }) => type === TYPES.ready && inputs?.["container"] === name)?.inputs;
    if (gate) await tryToStart(gate as unknown as ContainerReadyInputs, name, docker, report);
  }
  for (const { id, name } of unhealthy)
    await within(`start container ${name} again`, ACTION_MS, (options) => docker.getContainer(id).restart(options));
}

/** Starts a container. Where it does not come up, it may do so with the settings that Pulumi gives it next. */
async function tryToStart(gate: ContainerReadyInputs, name: string, docker: Docker, report: Report): Promise<void> {
  try {
    await startAndWait(gate, docker, report);
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    report(`container ${name} does not come up as it is; going on with its settings`);
  }
}

/** Takes a resource out of the state with all that depends on it, also what is protected. */
async function forget(session: Session, urn: string, failed: string): Promise<void> {
  const flags = ["--target-dependents", "--force", "--yes", ...session.stackArguments];
  await runPulumi(session, ["state", "delete", urn, ...flags], `${failed}:\n`);
}

/**
 * Has Pulumi look at some resources and at nothing else. It takes those that are gone out of the state.
 *
 * @param targets URNs, or patterns of them
 * @param failed what to tell the user when that fails
 * @param flags further ones for `pulumi refresh`
 */
export async function refresh(
  session: Session,
  targets: readonly string[],
  failed = "what is gone could not be taken out of the state",
  flags: readonly string[] = [],
): Promise<void> {
  const settings = ["--config-file", effectiveSettings(session)];
  const unasked = ["--yes", "--skip-preview", "--non-interactive"];
  const targeted = targets.flatMap((target) => ["--target", target]);
  const args = ["refresh", ...session.stackArguments, ...settings, ...unasked, ...flags, ...targeted];
  await runPulumi(session, args, `${failed}:\n`);
}

/**
 * Takes the operations out of the state that a killed run had begun: Pulumi would warn of them for ever. Later steps
 * find their results on the engine and in the cluster.
 */
export async function forgetPending(session: Session, report: Report): Promise<void> {
  report("the last run was cut off; what it was at is looked for on the engine and in the database");
  const stackResource = `urn:pulumi:${session.stack}::${PROJECT}::pulumi:pulumi:Stack::${PROJECT}-${session.stack}`;
  await refresh(session, [stackResource], "what a killed run was at could not be taken out of the state", [
    "--clear-pending-creates",
  ]);
}
