import type Docker from "dockerode";
import { PROJECT } from "../infra/settings/names.ts";
import { ACTION_MS, within } from "../toolchain/engine/containers.ts";
import { startAndWait, type ContainerReadyInputs } from "../infra/provider/resources/container-ready.ts";
import { StateError, ToolError } from "../base/errors.ts";
import type { KnownState, StateResource } from "./backend.ts";
import { describeDamage, resourcesOf, TYPES, type Damage, type LostData } from "./engine-damage.ts";
import { removeContainer } from "./engine-objects.ts";
import type { LostDatabase } from "./history.ts";
import { capture, type Session } from "./pulumi-run.ts";
import { effectiveSettings, explain, readState } from "./session.ts";

/** Takes a database that is gone out of the state, with all that was in it; the next run of Pulumi makes it. */
export async function forgetDatabase(session: Session, { urn, name }: LostDatabase): Promise<void> {
  await forget(session, urn, `what was in database ${name} could not be taken out of the state`);
}

/**
 * Brings what is on the engine and what the state says together again, so that a `pulumi up` after it makes what is gone:
 * the state forgets it. What is only stopped is started, and maintenance that fails begins anew.
 *
 * Every step can be cut off and run again. No volume is removed.
 *
 * @throws ToolError, StateError when a step fails
 */
export async function heal(
  session: Session,
  docker: Docker,
  state: KnownState,
  damage: Damage,
  report: (line: string) => void,
): Promise<void> {
  for (const line of describeDamage(damage)) report(line);
  const { lostData, unusable, unhealthy, gone, stopped } = damage;
  if (lostData) await forgetData(session, lostData);
  const before = resourcesOf(state);
  const known = new Set(resourcesOf(lostData ? await readState(session) : state).map(({ urn }) => urn));
  const mounted = before.filter(({ urn, type }) => type === TYPES.container && !known.has(urn));
  for (const { id } of [...unusable, ...mounted]) if (id) await removeContainer(docker, id);
  const forgotten = [...gone.flatMap(({ urns }) => urns), ...unusable.map(({ urn }) => urn)];
  const remaining = forgotten.filter((urn) => known.has(urn));
  if (remaining.length > 0) await refresh(session, remaining);
  for (const { name } of stopped.filter(({ urn }) => known.has(urn))) {
    const gate = before.find(isGateOf(name))?.inputs;
    if (gate) await tryToStart(gate as unknown as ContainerReadyInputs, name, docker, report);
  }
  for (const { id, name } of unhealthy)
    await within(`start container ${name} again`, ACTION_MS, (options) => docker.getContainer(id).restart(options));
}

/** One that does not come up may do so with the settings that Pulumi is about to give it; if not, Pulumi says so. */
async function tryToStart(
  gate: ContainerReadyInputs,
  name: string,
  docker: Docker,
  report: (line: string) => void,
): Promise<void> {
  try {
    await startAndWait(gate, docker, report);
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    report(`container ${name} does not come up as it is; going on with its settings`);
  }
}

/** The resource that says how a container's readiness is seen. */
const isGateOf =
  (container: string) =>
  ({ type, inputs }: StateResource): boolean =>
    type === TYPES.ready && inputs?.["container"] === container;

/**
 * Takes the data volume out of the state with everything that lives in it or is mounted on it: roles, database, schema, the
 * server's container. What of it is still on the engine is then an orphan, and Pulumi makes all of it again.
 */
async function forgetData(session: Session, { urn, volume }: LostData): Promise<void> {
  await forget(session, urn, `what lived in volume ${volume} could not be taken out of the state`);
}

/** Takes a resource out of the state with all that depends on it, whatever is protected. */
function forget(session: Session, urn: string, failed: string): Promise<void> {
  return run(
    session,
    ["state", "delete", urn, "--target-dependents", "--force", "--yes", ...session.stackArguments],
    failed,
  );
}

/**
 * Pulumi reads each of these where it is, and forgets what is gone. Nothing else is looked at.
 *
 * @param targets URNs, or patterns of them
 * @param failed what could not be done then
 * @param flags further ones for `pulumi refresh`
 */
export async function refresh(
  session: Session,
  targets: readonly string[],
  failed = "what is gone could not be taken out of the state",
  flags: readonly string[] = [],
): Promise<void> {
  await run(
    session,
    [
      "refresh",
      ...session.stackArguments,
      "--config-file",
      effectiveSettings(session),
      "--yes",
      "--skip-preview",
      "--non-interactive",
      ...flags,
      ...targets.flatMap((target) => ["--target", target]),
    ],
    failed,
  );
}

/** Whether a run was killed while it was at something. */
export const hasPending = (state: KnownState): boolean => state.kind === "recorded" && state.pending !== undefined;

/**
 * Takes out of the state what a killed run was just at: Pulumi would warn of it for ever. Whatever came of it is found again by
 * what is on the engine and in the cluster.
 */
export async function forgetPending(session: Session, report: (line: string) => void): Promise<void> {
  report("the last run was cut off; what it was at is looked for on the engine and in the database");
  const stackResource = `urn:pulumi:${session.stack}::${PROJECT}::pulumi:pulumi:Stack::${PROJECT}-${session.stack}`;
  await refresh(session, [stackResource], "what a killed run was at could not be taken out of the state", [
    "--clear-pending-creates",
  ]);
}

async function run(session: Session, args: readonly string[], failed: string): Promise<void> {
  const { exitCode, stdout, stderr } = await capture(session, args);
  if (exitCode === 0) return;
  throw explain(session, stderr) ?? new ToolError(`${failed}:\n${(stderr.trim() || stdout.trim()).slice(-2_000)}`);
}
