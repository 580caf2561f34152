import type Docker from "dockerode";
import type { StackConfig } from "../infra/settings/table.ts";
import { PROGRAM_VARIABLES } from "../infra/settings/program-variables.ts";
import { findEngine, type Engine } from "../toolchain/engine/find.ts";
import { askWithin, engineClient } from "../toolchain/engine/client.ts";
import { setUp } from "../toolchain/set-up.ts";
import { ToolError } from "../base/errors.ts";
import type { HeldLock } from "../base/lock.ts";
import { forgetAddresses } from "../infra/settings/chosen-addresses.ts";
import { isNew, type KnownState, readStateFile } from "./backend.ts";
import type { Caller } from "./caller.ts";
import { containerName, containersByStack, type EngineObjects, listObjects, removeOrphans } from "./engine-objects.ts";
import { requireStack } from "./known-stacks.ts";
import { withStackLock } from "./lock.ts";
import { describeOwner, notOurs, readOwnership } from "./ownership.ts";
import { isDisposable } from "./passphrase.ts";
import { clearDeadLocks } from "./pulumi-lock.ts";
import type { Session } from "./pulumi-run.ts";
import { refusal } from "./refusal.ts";
import { effectiveSettings, explain, forgetFiles, forgetStack, openSession, readState } from "./session.ts";
import { readStackConfig } from "./settings-file.ts";

/** Options of `down`. */
export interface DownOptions {
  readonly stack: string;
  /** Also remove a stack that is not disposable, with its data. */
  readonly deleteData: boolean;
  /** Also remove a stack that another state made. */
  readonly takeOver: boolean;
  /** The caller stops the engine next. Other stacks on it must not run, and `down` does not start it. */
  readonly endsEngine: boolean;
}

/**
 * Removes a stack: containers, network, volumes, certificates, state.
 *
 * @returns whether there was anything; undefined where the caller stops the engine next, it does not run, and there is
 *   no state: then `down` looks for nothing
 * @throws StateError for a stack that is protected, another's, or not disposable; nothing has been changed then
 */
export async function down(options: DownOptions, caller: Caller): Promise<boolean | undefined> {
  const { stack, endsEngine } = options;
  const config = readStackConfig(stack);
  const inFolder = readStateFile(stack);
  if (endsEngine && inFolder.kind === "none" && !(await findEngine())) return undefined;
  const toolchain = await setUp({ report: caller.progress, images: false });
  const docker = engineClient(toolchain.engine);
  // A disposable stack may be gone already: the last step of a job does not know how far the first one came.
  if (!isDisposable(stack) && isNothing(await listObjects(docker, stack))) requireStack(stack);
  const session = openSession(stack, toolchain);
  if (endsEngine) await refuseOthersEngine(toolchain.engine, stack);
  const work = (lock: HeldLock) => tearDown({ ...session, lock }, docker, config, options, caller);
  return withStackLock(stack, caller.progress, work);
}

const isNothing = ({ containers, networks, volumes }: EngineObjects): boolean =>
  containers.length + networks.length + volumes.length === 0;

/** Pulumi's advice after `destroy` to do what `down` does next. */
const ADVICE = /^.*The resources in the stack have been deleted[\s\S]*?pulumi stack rm.*$\n?/m;

/**
 * Removes everything of the stack, while nobody else changes it.
 *
 * @returns whether there was anything
 */
async function tearDown(
  session: Session,
  docker: Docker,
  config: StackConfig,
  { takeOver, deleteData }: DownOptions,
  caller: Caller,
): Promise<boolean> {
  const { stack } = session;
  const state = await readState(session);
  const objects = await listObjects(docker, stack);
  await refuseOthers(docker, stack, state, takeOver, caller.ask);
  clearDeadLocks(stack, caller.warn);
  if (!isNew(state) || !isNothing(objects)) {
    refuseLoss(config, deleteData, objects.volumes);
    await refuseAttached(docker, objects); // last: whoever stops an application for it is not refused again
    const servers = [...objects.containers, ...objects.networks].map(({ name }) => name).join(", ");
    caller.progress(`removing stack ${stack}: ${servers}; volumes ${objects.volumes.join(", ")}`);
    session.lock?.assertHeld();
    // First, because a container that a cut-off run left may use a volume or network that is to be destroyed.
    await removeOrphans(docker, stack, state, caller.progress);
    if (state.kind === "recorded") {
      const settings = ["--config-file", effectiveSettings(session)];
      // `refuseOthers` above has decided who may destroy the stack.
      const env = { ...session.env, [PROGRAM_VARIABLES.takeOver]: "1" };
      const destroy = ["destroy", ...session.stackArguments, ...settings, "--yes"];
      const { exitCode, stderr } = await caller.pulumi({ ...session, env }, destroy, ADVICE);
      if (exitCode !== 0)
        throw (
          explain(session, stderr) ??
          new ToolError(`\`pulumi destroy\` failed for stack "${stack}"; run \`down\` again, it goes on from there.`)
        );
    }
    session.lock?.assertHeld();
    // With the state as it was: objects that another user has made since have another identity.
    await refuseOthers(docker, stack, state, takeOver, caller.ask);
    await removeOrphans(docker, stack, { kind: "none" }, caller.progress);
    for (const volume of (await listObjects(docker, stack)).volumes) {
      caller.progress(`removing volume ${volume}`);
      await docker.getVolume(volume).remove();
    }
  }
  forgetAddresses(stack);
  if (state.kind === "recorded") await forgetStack(session);
  else if (isNothing(objects)) return false;
  else forgetFiles(session); // of a state that is lost
  return true;
}

/**
 * @throws StateError naming who made a stack of this name, unless it is ours or the user says that its state is lost
 */
async function refuseOthers(
  docker: Docker,
  stack: string,
  state: KnownState,
  takeOver: boolean,
  ask: Caller["ask"],
): Promise<void> {
  const ownership = await readOwnership(docker, stack, state);
  if (takeOver || ownership.kind === "free" || ownership.kind === "mine") return;
  if (await ask(`The objects of stack "${stack}" on this engine ${describeOwner(ownership)}. Remove them all?`)) return;
  const remedy = `If its state is lost: \`aiwdb down --stack ${stack} --take-over\`.`;
  throw await notOurs(docker, stack, state, ownership, remedy);
}

/** @throws StateError naming containers of others on the stack's network. The engine removes no network in use. */
async function refuseAttached(docker: Docker, { containers, networks }: EngineObjects): Promise<void> {
  const own = new Set(containers.map(({ id }) => id));
  const others = await Promise.all(
    networks.map(async ({ id, name }) => {
      const filters = { network: [id] };
      const running = await askWithin((options) => docker.listContainers({ filters, ...options }));
      const problem = { problem: `is attached to network ${name}`, remedy: "Stop it." };
      return running
        .filter(({ Id }) => !own.has(Id))
        .map(({ Id, Names }) => ({ subject: containerName(Id, Names), ...problem }));
    }),
  );
  if (others.flat().length > 0) throw refusal("Others use the stack", ...others.flat());
}

/** @throws StateError naming the other stacks that would go down with the engine */
async function refuseOthersEngine(engine: Engine, stack: string): Promise<void> {
  if (!engine.isPrivate) return; // nobody stops an engine of the user's own
  const running = [...(await containersByStack(engineClient(engine)))].filter(
    ([name, count]) => name !== stack && count.running > 0,
  );
  if (running.length === 0) return;
  throw refusal("The engine has other stacks", {
    subject: "--engine",
    problem: `would stop ${running.map(([name]) => name).join(", ")}`,
    remedy: "Remove them by `aiwdb down --stack <name>` first, or leave --engine out.",
  });
}

/** @throws StateError for a stack that is protected, or whose data the user did not give up */
function refuseLoss({ stack, protect }: StackConfig, deleteData: boolean, volumes: readonly string[]): void {
  if (protect) {
    throw refusal(`Stack "${stack}" is protected`, {
      subject: "protect",
      problem: `is true, so that ${volumes.join(", ")} and the certificate authority cannot be deleted by one command`,
      remedy: "Back up, set `protect` to false in its settings, run `up`, then `down` with --delete-data.",
    });
  }
  if (!isDisposable(stack) && !deleteData) {
    throw refusal(`Stack "${stack}" is not disposable`, {
      subject: "--delete-data",
      problem: `would delete ${volumes.join(", ") || "its volumes"}`,
      remedy: "Back up, then repeat the command with --delete-data.",
    });
  }
}
