import { existsSync } from "node:fs";
import { defineCommand } from "citty";
import type Docker from "dockerode";
import type { StackConfig } from "../../infra/settings/table.ts";
import { backupFolder } from "../../infra/settings/local-files.ts";
import { TAKE_OVER_VARIABLE } from "../../infra/provider/stack-identity.ts";
import { findEngine, type Engine } from "../../toolchain/engine/find.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { StateError, ToolError } from "../../base/errors.ts";
import { stopPrivateEngine } from "../../toolchain/engine/private.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import { confirm } from "../confirm.ts";
import { createOutput, type Output } from "../../base/output.ts";
import { forgetAddresses } from "../../stack/addresses.ts";
import { isNew, type KnownState, readStateFile } from "../../stack/backend.ts";
import { containersByStack, type EngineObjects, listObjects, removeOrphans } from "../../stack/engine-objects.ts";
import { describeOwner, notOurs, readOwnership } from "../../stack/ownership.ts";
import { isDisposable } from "../../stack/passphrase.ts";
import { clearDeadLocks } from "../../stack/pulumi-lock.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { display, type Session } from "../../stack/pulumi-run.ts";
import { effectiveSettings, explain, forgetFiles, forgetStack, openSession, readState } from "../../stack/session.ts";
import { readStackConfig } from "../../stack/settings-file.ts";
import { withStackLock } from "../../stack/lock.ts";

export const examples = [
  "aiwdb down                          # dev, with its data",
  "aiwdb down --stack qa --delete-data # any other stack",
  "aiwdb down --stack ci-7 --take-over # made by a state that is lost",
  "aiwdb down --engine                 # also stop the engine that `up` started",
];

export default defineCommand({
  args: {
    ...stackArguments,
    "delete-data": {
      type: "boolean",
      default: false,
      description: "Also for a stack that is not disposable: its data volume goes too",
    },
    "take-over": {
      type: "boolean",
      default: false,
      description: "Also remove it where another state made it, because that state is lost",
    },
    engine: {
      type: "boolean",
      default: false,
      description: "Then stop the Docker Engine that `up` started; never one of the user's own",
    },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const { stack } = args;
    const config = readStackConfig(stack);
    const inFolder = readStateFile(stack);
    if (args.engine && inFolder.kind === "none" && !(await findEngine())) {
      output.json({ stack, removed: false, engineStopped: await stopEngine(output) });
      return;
    }
    const toolchain = await setUp({ report: output.progress, images: false });
    const docker = engineClient(toolchain.engine);
    // A throw-away stack may be gone already: a job's last step does not know how far the first one came.
    if (!isDisposable(stack) && isNothing(await listObjects(docker, stack))) requireStack(stack);
    const session = openSession(stack, toolchain);
    if (args.engine) await refuseOthersEngine(toolchain.engine, stack);
    const removed = await withStackLock(stack, output.progress, (lock) =>
      tearDown({ ...session, lock }, docker, config, args, output),
    );
    output.text(removed ? `stack ${stack}: removed` : `stack ${stack}: there was nothing to remove`);
    const backups = backupFolder(stack);
    if (existsSync(backups)) output.text(`its backups stay, with its data: ${backups}`);
    const engineStopped = args.engine && (await stopEngine(output));
    output.json({ stack, removed, engineStopped });
  },
});

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
  args: { readonly "delete-data": boolean; readonly "take-over": boolean; readonly json: boolean },
  output: Output,
): Promise<boolean> {
  const { stack } = session;
  const state = await readState(session);
  const objects = await listObjects(docker, stack);
  await refuseOthers(docker, stack, state, args["take-over"]);
  clearDeadLocks(stack, output.warn);
  if (!isNew(state) || !isNothing(objects)) {
    refuseLoss(stack, config.protect, args["delete-data"], objects.volumes);
    output.progress(
      `removing stack ${stack}: ${[...objects.containers, ...objects.networks].map(({ name }) => name).join(", ")}; volumes ${objects.volumes.join(", ")}`,
    );
    // First: one that a cut-off run left would hold on to a volume or network that is to be destroyed.
    session.lock?.assertHeld();
    await removeOrphans(docker, stack, state, output.progress);
    if (state.kind === "recorded") {
      const settings = ["--config-file", effectiveSettings(session)];
      // Who is refused has been refused above, or has said so.
      const env = { ...session.env, [TAKE_OVER_VARIABLE]: "1" };
      const { exitCode, stderr } = await display(
        { ...session, env },
        ["destroy", ...session.stackArguments, ...settings, "--yes"],
        args.json,
        ADVICE,
      );
      if (exitCode !== 0)
        throw (
          explain(session, stderr) ??
          new ToolError(`\`pulumi destroy\` failed for stack "${stack}"; run \`down\` again, it goes on from there.`)
        );
    }
    session.lock?.assertHeld();
    // The state as it was: what another user has made since has another identity.
    await refuseOthers(docker, stack, state, args["take-over"]);
    await removeOrphans(docker, stack, { kind: "none" }, output.progress);
    for (const volume of (await listObjects(docker, stack)).volumes) {
      output.progress(`removing volume ${volume}`);
      await docker.getVolume(volume).remove();
    }
  }
  forgetAddresses(stack);
  if (state.kind === "recorded") await forgetStack(session);
  else if (!isNothing(objects)) forgetFiles(session); // of a state that is lost
  return state.kind === "recorded" || !isNothing(objects);
}

/**
 * Keeps off a stack of the same name that another user of the engine made.
 *
 * @throws StateError naming whose it is, unless the user says that its state is lost
 */
async function refuseOthers(docker: Docker, stack: string, state: KnownState, takeOver: boolean): Promise<void> {
  const ownership = await readOwnership(docker, stack, state);
  if (takeOver || ownership.kind === "free" || ownership.kind === "mine") return;
  if (await confirm(`The objects of stack "${stack}" on this engine ${describeOwner(ownership)}. Remove them all?`))
    return;
  throw await notOurs(
    docker,
    stack,
    state,
    ownership,
    `If its state is lost: \`aiwdb down --stack ${stack} --take-over\`.`,
  );
}

/**
 * Other stacks would go down with the engine, and nobody would be told.
 *
 * @throws StateError naming them
 */
async function refuseOthersEngine(engine: Engine, stack: string): Promise<void> {
  if (!engine.isPrivate) return; // it is left alone anyway
  const running = [...(await containersByStack(engineClient(engine)))].filter(
    ([name, count]) => name !== stack && count.running > 0,
  );
  if (running.length === 0) return;
  throw new StateError("The engine has other stacks; nothing has been changed:", [
    {
      subject: "--engine",
      problem: `would stop ${running.map(([name]) => name).join(", ")}`,
      remedy: "Remove them by `aiwdb down --stack <name>` first, or leave --engine out.",
    },
  ]);
}

async function stopEngine(output: { text(line: string): void }): Promise<boolean> {
  const stopped = await stopPrivateEngine();
  output.text(
    stopped === undefined
      ? "engine: none was started by this package; yours is left alone"
      : `engine: stopped (${stopped})`,
  );
  return stopped !== undefined;
}

function refuseLoss(stack: string, isProtected: boolean, deleteData: boolean, volumes: readonly string[]): void {
  if (isProtected) {
    throw new StateError(`Stack "${stack}" is protected; nothing has been changed:`, [
      {
        subject: "protect",
        problem: `is true, so that ${volumes.join(", ")} and the certificate authority cannot be deleted by one command`,
        remedy: "Back up, set `protect` to false in its settings, run `up`, then `down` with --delete-data.",
      },
    ]);
  }
  if (!isDisposable(stack) && !deleteData) {
    throw new StateError(`Stack "${stack}" is not disposable; nothing has been changed:`, [
      {
        subject: "--delete-data",
        problem: `would delete ${volumes.join(", ") || "its volumes"}`,
        remedy: "Back up, then repeat the command with --delete-data.",
      },
    ]);
  }
}
