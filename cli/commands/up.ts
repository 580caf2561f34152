import { defineCommand } from "citty";
import type Docker from "dockerode";
import { type StackConfig } from "../../infra/settings/table.ts";
import { configError } from "../../infra/settings/check.ts";
import { readMigrations } from "../../migrate/chain/files.ts";
import { upToPhase, type Phase } from "../../migrate/chain/phases.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { TAKE_OVER_VARIABLE } from "../../infra/provider/stack-identity.ts";
import { findEngine } from "../../toolchain/engine/find.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { Declined, messageOf, StateError, ToolError, type Problem } from "../../base/errors.ts";
import type { HeldLock } from "../../base/lock.ts";
import { checkMachine } from "../../toolchain/machine.ts";
import { setUp, type Toolchain } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import { confirm } from "../confirm.ts";
import { createOutput, type Output } from "../../base/output.ts";
import { settleAddresses } from "../../stack/addresses.ts";
import { findAdoptable } from "../../stack/adopt.ts";
import { isNew, readStateFile, type KnownState } from "../../stack/backend.ts";
import { rotateAuthority } from "../../stack/authority.ts";
import { backupFolder } from "../../infra/settings/local-files.ts";
import { backUp } from "../../database/backup/dump.ts";
import { describeDamage, findDamage, resourcesOf, TYPES } from "../../stack/engine-damage.ts";
import { listObjects, obstacles, removeOrphans } from "../../stack/engine-objects.ts";
import { refuseFrozen } from "../../stack/freeze.ts";
import { forgetDatabase, forgetPending, hasPending, heal, refresh } from "../../stack/heal.ts";
import { agreeToLostData, agreeToLostDatabase } from "../agree.ts";
import {
  describeForgotten,
  describeLostDatabase,
  findForgotten,
  findLostDatabase,
  type History,
  readHistory,
  recordedMigrations,
} from "../../stack/history.ts";
import { describeOwner, notOurs, type Ownership, readOwnership } from "../../stack/ownership.ts";
import { requireStack } from "../../stack/known-stacks.ts";
import { MIGRATIONS_FOLDER } from "../../stack/migrations-folder.ts";
import { isDisposable } from "../../stack/passphrase.ts";
import { renewConnections } from "../../stack/pooler.ts";
import { clearDeadLocks } from "../../stack/pulumi-lock.ts";
import { withServerOnVolume } from "../../stack/server-on-volume.ts";
import { display, endLeftPlugins, type Session } from "../../stack/pulumi-run.ts";
import { effectiveSettings, ensureStack, explain, openSession, readState } from "../../stack/session.ts";
import { checkStackConfig, readStackConfig } from "../../stack/settings-file.ts";
import { withStackLock } from "../../stack/lock.ts";
import { statusText } from "../../stack/status-text.ts";
import { readStatus, refuseUnlessHealthy } from "../../stack/status.ts";

export const examples = [
  "aiwdb up",
  "aiwdb up --stack prod          # needs PULUMI_CONFIG_PASSPHRASE_FILE",
  "aiwdb up --rotate-certificates # new leaf certificates now, by reload",
  "aiwdb up --rotate-authority    # a new certificate authority, one of three phases",
];

export default defineCommand({
  args: {
    ...stackArguments,
    yes: {
      type: "boolean",
      alias: "y",
      default: false,
      description: "Do not ask before changing a stack that is not disposable",
    },
    backup: {
      type: "boolean",
      default: true,
      description: "Back the database up before pending migrations; dev, ci-… and pr-… stacks are not",
      negativeDescription: "Apply pending migrations without a backup",
    },
    "reset-passwords": {
      type: "boolean",
      default: false,
      description:
        "The state was lost and the data volume kept: give every role a new password and go on with the data. With --yes also where another state made the stack",
    },
    "empty-database": {
      type: "boolean",
      default: false,
      description: "The data volume, or the database in it, is gone: go on with an empty database in its place",
    },
    "rotate-certificates": {
      type: "boolean",
      default: false,
      description: "Replace every leaf certificate now instead of when it is due",
    },
    "rotate-authority": {
      type: "boolean",
      default: false,
      description:
        "Replace the certificate authority by one of three phases: trust a new one too, use it, drop the old one. Run it three times; clients of either connect in between",
    },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const { stack } = args;
    requireStack(stack, { orNew: true });
    await checkSettings(stack);
    readStateFile(stack); // one that cannot be read is named before anything else
    const { session, toolchain } = await withStackLock(stack, output.progress, (lock) => bringUp(args, output, lock));
    const status = await readStatus(session, toolchain);
    output.text(statusText(status));
    refuseUnlessHealthy(status, `Stack "${stack}" is up and`);
    output.json(status);
  },
});

interface UpArguments {
  readonly stack: string;
  readonly json: boolean;
  readonly yes: boolean;
  readonly backup: boolean;
  readonly "reset-passwords": boolean;
  readonly "empty-database": boolean;
  readonly "rotate-certificates": boolean;
  readonly "rotate-authority": boolean;
}

/** Everything but the look at the result, while nobody else changes the stack. */
async function bringUp(
  args: UpArguments,
  output: Output,
  lock: HeldLock,
): Promise<{ session: Session; toolchain: Toolchain }> {
  const { stack } = args;
  clearDeadLocks(stack, output.warn);

  refuse(stack, await checkMachine({})); // before anything is built on a disk that is full
  const toolchain = await setUp({ report: output.progress });
  const docker = engineClient(toolchain.engine);
  const session = openSession(stack, toolchain, lock);
  let state = await readState(session);
  const first = isNew(state);
  if (first && args["rotate-authority"]) throw nothingToRotate(stack);
  const ownership = await readOwnership(docker, stack, state);
  const resetPasswords = await agreeToTakeOver(docker, args, state, ownership);
  const config = first ? await settleAddresses(docker, stack, output.progress) : readStackConfig(stack);
  const { postgresCpus, pgbouncerCpus } = config;
  const problems: Problem[] = (
    await Promise.all([checkMachine({ docker, cpuLimits: { postgresCpus, pgbouncerCpus } }), obstacles(docker, config)])
  ).flat();
  refuse(stack, problems);

  const damage = await findDamage(docker, stack, state);
  await agreeToLostData(stack, damage.lostData, args["empty-database"]);
  const takesOver = resetPasswords && ownership.kind !== "mine";
  if (takesOver) await lookBeforeTakingOver(docker, config, args.backup, output);
  else if (!first) await refuseFrozen(docker, stack, config.databaseName);

  await ensureStack(session);
  endLeftPlugins(stack);
  clearDeadLocks(stack, output.warn); // set-up may have taken minutes, and a plain `pulumi` does not know our lock
  lock.assertHeld();
  // Somebody may have answered a question for minutes, in which another user made the stack.
  const since = await readOwnership(docker, stack, state);
  if (!resetPasswords && (since.kind === "another" || since.kind === "unknown"))
    throw await notOurs(docker, stack, state, since, "It was made while this command ran.");
  if (hasPending(state)) await forgetPending(session, output.progress);
  await heal(session, docker, state, damage, output.progress);
  state = await readState(session);
  if (!first) await refuseFrozen(docker, stack, config.databaseName); // of a server that was only just started
  lock.assertHeld();
  await removeOrphans(
    docker,
    stack,
    state,
    output.progress,
    takesOver ? "of the state that is taken over from" : undefined,
  );

  const environment: Record<string, string> = {};
  if (resetPasswords) environment[TAKE_OVER_VARIABLE] = "1";
  if (ownership.kind === "mine" && ownership.identity !== undefined)
    environment["AIWDB_STATE_IDENTITY"] = ownership.identity;
  if (args["rotate-certificates"]) environment["AIWDB_ROTATE_CERTIFICATES"] = new Date().toISOString();
  const withEnvironment: Session = { ...session, env: { ...session.env, ...environment } };

  if (!first) {
    const history = await readHistory(docker, stack, config.databaseName);
    const lostDatabase = findLostDatabase(state, history);
    if (lostDatabase) {
      output.progress(describeLostDatabase(lostDatabase));
      await agreeToLostDatabase(stack, lostDatabase, args["empty-database"]);
      await forgetDatabase(session, lostDatabase);
      state = await readState(session);
      await removeOrphans(docker, stack, state, output.progress); // what depended on it and runs on the engine
    }
    const forgotten = findForgotten(state, history);
    if (forgotten) {
      output.progress(describeForgotten(forgotten));
      await refresh(session, [forgotten.urn]);
    }
    if (args.backup && !takesOver) await backUpBeforeMigrating(docker, config, state, history, output);
  }

  // A new stack's preview would list everything; one line says as much.
  if (first)
    output.progress(
      `creating stack ${stack}: certificates, network, PostgreSQL, PgBouncer, database ${config.databaseName}`,
    );
  const ask = !first && !args.yes && !isDisposable(stack) && process.stdin.isTTY && process.stdout.isTTY;
  const flags = [...(first ? ["--skip-preview"] : []), ...(ask ? [] : ["--yes"])];
  const up = (variables: Record<string, string>) =>
    deploy({ ...withEnvironment, env: { ...withEnvironment.env, ...variables } }, flags, output, args.json);
  if (args["rotate-authority"] && !first) output.progress(await rotateAuthority(session, up));
  else await up({});
  // Where a server or a network was cut off, the pooler has connections that nobody answers on.
  if (describeDamage(damage).length > 0) await renewConnections(docker, config, output.warn);
  return { session, toolchain };
}

/**
 * Looks at the settings before anything is set up. Where they are wrong, an engine that runs already is asked too: the list
 * shall be whole.
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

/**
 * Migrations may lose data by what they are told to do; stacks that are not disposable are backed up before any. What is
 * pending is asked of the database: it may have been restored, or rolled back, behind the state's back.
 */
async function backUpBeforeMigrating(
  docker: Docker,
  { stack, databaseName, rolloutPhase }: StackConfig,
  state: KnownState,
  history: History,
  output: Output,
): Promise<void> {
  const hasMigrated = resourcesOf(state).some(({ type }) => type === TYPES.migrations);
  if (isDisposable(stack) || !hasMigrated || history === "no database") return;
  const applied = history === "not running" ? recordedMigrations(state) : history;
  const wanted = upToPhase(readMigrations(MIGRATIONS_FOLDER), rolloutPhase as Phase);
  const pending = wanted.filter(({ name }) => !applied.includes(name));
  if (pending.length === 0) return;
  output.progress(`${pending.length} pending: ${pending.map(({ name }) => name).join(", ")}`);
  // The stack's own may be gone, or begin to run by the settings that come with this run.
  await withServerOnVolume(docker, stack, output.progress, (container) =>
    backUp(docker, { container, database: databaseName, folder: backupFolder(stack) }, output.progress),
  );
}

/**
 * Looks into the data while everything is still as it was: a frozen database is left alone, and one that is not disposable is
 * backed up where migrations are pending. The state that is lost cannot say which; the database can, of which the old server, or
 * one that is started for this, is asked.
 *
 * @throws StateError for one that is frozen
 */
async function lookBeforeTakingOver(
  docker: Docker,
  { stack, databaseName, rolloutPhase }: StackConfig,
  backup: boolean,
  output: Output,
): Promise<void> {
  const { volumes } = await listObjects(docker, stack);
  if (!volumes.includes(engineNames(stack).dataVolume)) return;
  await withServerOnVolume(docker, stack, output.progress, async (container) => {
    await refuseFrozen(docker, stack, databaseName, container);
    if (!backup || isDisposable(stack)) return;
    const history = await readHistory(docker, stack, databaseName, container);
    if (typeof history === "string") return; // no database: a first run that was cut off
    const wanted = upToPhase(readMigrations(MIGRATIONS_FOLDER), rolloutPhase as Phase);
    if (wanted.every(({ name }) => history.includes(name))) return;
    await backUp(docker, { container, database: databaseName, folder: backupFolder(stack) }, output.progress);
  });
}

/**
 * What is on the engine and not this state's: of a state that was lost, a data volume that `down` kept, or another user's. Its
 * passwords are known to nobody here, so going on means new ones.
 *
 * @returns whether every role gets a new password
 * @throws StateError unless the user agrees
 */
async function agreeToTakeOver(
  docker: Docker,
  args: UpArguments,
  state: KnownState,
  ownership: Ownership,
): Promise<boolean> {
  const { stack } = args;
  const isFirst = isNew(state);
  const { dataVolume } = engineNames(stack);
  if (ownership.kind === "another" || ownership.kind === "unknown") {
    const remedy =
      (isFirst ? "" : "If your state is of another engine, set DOCKER_HOST to that one. ") +
      `If it is yours and its state is lost: \`aiwdb up --stack ${stack} --reset-passwords --yes\` keeps the data, and locks out whoever has the old passwords.`;
    const agreed =
      (args["reset-passwords"] && args.yes) ||
      (await confirm(
        `The objects of stack "${stack}" on this engine ${describeOwner(ownership)}. Take it over, keep the data, give every role a new password and lock out whoever has the old ones?`,
      ));
    if (!agreed) throw await notOurs(docker, stack, state, ownership, remedy);
    return true;
  }
  if (args["reset-passwords"] || ownership.kind !== "data") return args["reset-passwords"];
  if (
    await confirm(
      `Volume ${dataVolume} has data and its state is lost. Keep the data and give every role a new password?`,
    )
  )
    return true;
  throw new StateError(
    `The state of stack "${stack}" is lost, and its data volume is there; nothing has been changed:`,
    [
      {
        subject: dataVolume,
        problem: "nobody knows its passwords any more; going on silently would lock every client out",
        remedy:
          `Run \`npm run up -- --stack ${stack} --reset-passwords\` to keep the data and give every role a new password and certificate, ` +
          "or restore the state, or remove the volume if the data is not needed.",
      },
    ],
  );
}

function nothingToRotate(stack: string): StateError {
  return new StateError(`Stack "${stack}" has no certificate authority yet; nothing has been changed:`, [
    {
      subject: "--rotate-authority",
      problem: "replaces the authority of a stack that is up",
      remedy: "Leave it out: the first `up` makes a new authority.",
    },
  ]);
}

function refuse(stack: string, problems: readonly Problem[]): void {
  if (problems.length > 0)
    throw new StateError(`Stack "${stack}" cannot be brought up; nothing has been changed:`, problems);
}

const ADOPTED_TYPES = ["postgresql:index/role:Role", "postgresql:index/database:Database"];

/** Runs `pulumi up`; objects that exist in the cluster without the state knowing them are adopted by a second run. */
async function deploy(session: Session, flags: readonly string[], output: Output, json: boolean): Promise<void> {
  const up = (env: NodeJS.ProcessEnv, more: readonly string[]) =>
    display(
      { ...session, env },
      ["up", ...session.stackArguments, "--config-file", effectiveSettings(session), "--suppress-outputs", ...more],
      json,
    );
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
    output.warn(`taking over what is in the database without being in the state: ${adoptable.join(", ")}`);
    // Importing compares what is there; the run after it sets what differs, passwords among it. Nobody is asked twice.
    const again = ["--yes", "--skip-preview"];
    const adopted = await up({ ...session.env, AIWDB_ADOPT: adoptable.join(",") }, [
      ...again,
      ...ADOPTED_TYPES.flatMap((type) => ["--target", `**${type}**`]),
    ]);
    if (adopted.exitCode === 0 && (await up(session.env, again)).exitCode === 0) return;
  }
  throw new ToolError(
    `\`pulumi up\` failed for stack "${session.stack}"; what was created before is kept, and the next \`up\` goes on from there.`,
  );
}
