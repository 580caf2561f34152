import { configError } from "../infra/settings/check.ts";
import { PROGRAM_VARIABLES } from "../infra/settings/program-variables.ts";
import { findEngine } from "../toolchain/engine/find.ts";
import { engineClient } from "../toolchain/engine/client.ts";
import { checkMachine } from "../toolchain/machine.ts";
import { setUp, type Toolchain } from "../toolchain/set-up.ts";
import { messageOf, StateError, type Problem } from "../base/errors.ts";
import type { HeldLock } from "../base/lock.ts";
import { settleAddresses } from "./addresses.ts";
import { rotateAuthority } from "./authority.ts";
import { isNew, readStateFile } from "./backend.ts";
import type { Caller } from "./caller.ts";
import { describeDamage, findDamage } from "./engine-damage.ts";
import { obstacles, removeOrphans } from "./engine-objects.ts";
import { refuseFrozen } from "./freeze.ts";
import { forgetDatabase, forgetPending, heal, refresh } from "./heal.ts";
import { describeForgotten, describeLostDatabase, findForgotten, findLostDatabase, readHistory } from "./history.ts";
import { requireStack } from "./known-stacks.ts";
import { withStackLock } from "./lock.ts";
import { notOurs, readOwnership } from "./ownership.ts";
import { isDisposable } from "./passphrase.ts";
import { renewConnections } from "./pooler.ts";
import { clearDeadLocks } from "./pulumi-lock.ts";
import { endLeftPlugins, type Session } from "./pulumi-run.ts";
import { refusal } from "./refusal.ts";
import { ensureStack, openSession, readState } from "./session.ts";
import { checkStackConfig, readStackConfig } from "./settings-file.ts";
import { agreeToLostData, agreeToLostDatabase, agreeToTakeOver } from "./up-agreements.ts";
import { backUpBeforeMigrating, lookBeforeTakingOver } from "./up-backup.ts";
import { deploy } from "./up-deploy.ts";

/** Options of `up`. */
export interface UpOptions {
  readonly stack: string;
  /** Do not ask before `up` changes a stack that is not disposable, or takes one over with `resetPasswords`. */
  readonly yes: boolean;
  /** Back up before pending migrations, where the stack is not disposable. */
  readonly backup: boolean;
  /** Give every role a new password, because the state that had the passwords is lost. */
  readonly resetPasswords: boolean;
  /** Go on with an empty database where the data is gone. */
  readonly emptyDatabase: boolean;
  /** Replace every leaf certificate. */
  readonly rotateCertificates: boolean;
  /** Do the next phase of replacing the certificate authority. */
  readonly rotateAuthority: boolean;
}

/**
 * Brings a stack up, or to what its settings and migrations say. It does not check whether the stack is healthy then.
 *
 * @throws UserError naming what is in the way; nothing has been changed then, unless it says so
 */
export async function up(options: UpOptions, caller: Caller): Promise<{ session: Session; toolchain: Toolchain }> {
  const { stack } = options;
  requireStack(stack, { orNew: true });
  await checkSettings(stack);
  readStateFile(stack); // throws before anything else when the file cannot be read
  return withStackLock(stack, caller.progress, (lock) => bringUp(options, caller, lock));
}

/** Brings a stack up while nobody else changes it. */
async function bringUp(options: UpOptions, caller: Caller, lock: HeldLock): ReturnType<typeof up> {
  const { stack } = options;
  clearDeadLocks(stack, caller.warn);

  refuse(stack, await checkMachine({})); // before set-up builds anything on a disk that is full
  const toolchain = await setUp({ report: caller.progress });
  const docker = engineClient(toolchain.engine);
  const session = openSession(stack, toolchain, lock);
  let state = await readState(session);
  const first = isNew(state);
  if (first && options.rotateAuthority)
    throw refusal(`Stack "${stack}" has no certificate authority yet`, {
      subject: "--rotate-authority",
      problem: "replaces the authority of a stack that is up",
      remedy: "Leave it out: the first `up` makes a new authority.",
    });
  const ownership = await readOwnership(docker, stack, state);
  const resetPasswords = await agreeToTakeOver(docker, options, state, ownership, caller.ask);
  const config = first ? await settleAddresses(docker, stack, caller.progress) : readStackConfig(stack);
  const { postgresCpus, pgbouncerCpus } = config;
  const machine = checkMachine({ docker, cpuLimits: { postgresCpus, pgbouncerCpus } });
  refuse(stack, (await Promise.all([machine, obstacles(docker, config)])).flat());

  const damage = await findDamage(docker, stack, state);
  await agreeToLostData(stack, damage.lostData, options.emptyDatabase, caller.ask);
  const takesOver = resetPasswords && ownership.kind !== "mine";
  if (takesOver) await lookBeforeTakingOver(docker, config, options.backup, caller.progress);
  else if (!first) await refuseFrozen(docker, stack, config.databaseName);

  await ensureStack(session);
  endLeftPlugins(stack);
  clearDeadLocks(stack, caller.warn); // set-up may have taken minutes, and a plain `pulumi` does not know our lock
  lock.assertHeld();
  // Somebody may have answered a question for minutes, in which another user made the stack.
  const since = await readOwnership(docker, stack, state);
  if (!resetPasswords && (since.kind === "another" || since.kind === "unknown"))
    throw await notOurs(docker, stack, state, since, "It was made while this command ran.");
  if (state.kind === "recorded" && state.isCutOff) await forgetPending(session, caller.progress);
  await heal(session, docker, state, damage, caller.progress);
  state = await readState(session);
  if (!first) await refuseFrozen(docker, stack, config.databaseName); // of a server that was only just started
  lock.assertHeld();
  const reason = takesOver ? "of the state that is taken over from" : undefined;
  await removeOrphans(docker, stack, state, caller.progress, reason);

  // `checkSettings` has compared it.
  const environment: Record<string, string> = { [PROGRAM_VARIABLES.comparedStack]: stack };
  if (resetPasswords) environment[PROGRAM_VARIABLES.takeOver] = "1";
  if (ownership.kind === "mine" && ownership.identity !== undefined)
    environment[PROGRAM_VARIABLES.stateIdentity] = ownership.identity;
  if (options.rotateCertificates) environment[PROGRAM_VARIABLES.rotateCertificates] = new Date().toISOString();
  const withEnvironment: Session = { ...session, env: { ...session.env, ...environment } };

  if (!first) {
    const history = await readHistory(docker, stack, config.databaseName);
    const lostDatabase = findLostDatabase(state, history);
    if (lostDatabase) {
      caller.progress(describeLostDatabase(lostDatabase));
      await agreeToLostDatabase(stack, lostDatabase, options.emptyDatabase, caller.ask);
      await forgetDatabase(session, lostDatabase);
      state = await readState(session);
      await removeOrphans(docker, stack, state, caller.progress); // what depended on it and runs on the engine
    }
    const forgotten = findForgotten(state, history);
    if (forgotten) {
      caller.progress(describeForgotten(forgotten));
      await refresh(session, [forgotten.urn]);
    }
    if (options.backup && !takesOver) await backUpBeforeMigrating(docker, config, state, history, caller.progress);
  }

  // A new stack's preview would list everything; one line says as much.
  const parts = `certificates, network, PostgreSQL, PgBouncer, database ${config.databaseName}`;
  if (first) caller.progress(`creating stack ${stack}: ${parts}`);
  const ask = !first && !options.yes && !isDisposable(stack) && caller.isAtTerminal;
  const flags = [...(first ? ["--skip-preview"] : []), ...(ask ? [] : ["--yes"])];
  const deployWith = (variables: Record<string, string>) =>
    deploy({ ...withEnvironment, env: { ...withEnvironment.env, ...variables } }, flags, caller);
  if (options.rotateAuthority && !first) caller.progress(await rotateAuthority(session, deployWith));
  else await deployWith({});
  // Where a server or a network was gone, the pooler has connections that no server answers on.
  if (describeDamage(damage).length > 0) await renewConnections(docker, config, caller.warn);
  return { session, toolchain };
}

/**
 * Looks at the settings before set-up. Where they are wrong, it asks an engine that runs already for further obstacles,
 * so that the list is complete.
 *
 * @throws ConfigError
 */
async function checkSettings(stack: string): Promise<void> {
  const { config, problems } = checkStackConfig(stack);
  if (problems.length === 0) return;
  const more = await findEngine()
    .then((engine) => (engine === undefined ? [] : obstacles(engineClient(engine), config)))
    .catch((error: unknown): Problem[] => [
      { subject: "Docker Engine", problem: `could not be asked what else is wrong: ${messageOf(error)}` },
    ]);
  const named = new Set(problems.map(({ subject }) => subject));
  throw configError(stack, [...problems, ...more.filter(({ subject }) => !named.has(subject))]);
}

function refuse(stack: string, problems: readonly Problem[]): void {
  if (problems.length > 0)
    throw new StateError(`Stack "${stack}" cannot be brought up; nothing has been changed:`, problems);
}
