import { defineCommand } from "citty";
import type Docker from "dockerode";
import { readMigrations } from "../../infra/migrations/files.ts";
import { upToPhase, type Phase } from "../../infra/migrations/phases.ts";
import { engineNames } from "../../infra/names.ts";
import { StateError, ToolError, type Problem } from "../../toolchain/errors.ts";
import { stackArguments } from "../arguments.ts";
import { confirm } from "../confirm.ts";
import { createOutput, type Output } from "../output.ts";
import { settleAddresses } from "../stack/addresses.ts";
import { clearDeadLocks, readStateFile, type StateResource } from "../stack/backend.ts";
import { backUp } from "../stack/backup.ts";
import { MIGRATIONS_FOLDER } from "../stack/migrations-folder.ts";
import { findAdoptable } from "../stack/adopt.ts";
import { listObjects, obstacles, removeOrphans } from "../stack/engine-objects.ts";
import { isDisposable } from "../stack/passphrase.ts";
import { display, effectiveSettings, ensureStack, explain, openSession, type Session } from "../stack/session.ts";
import { checkAgreement, readStackConfig } from "../stack/settings-file.ts";
import { readStatus, statusText } from "../stack/status.ts";
import { isLocalEngine } from "../../toolchain/diagnosis.ts";
import { engineClient } from "../../toolchain/engine-client.ts";
import { checkMachine } from "../../toolchain/machine.ts";
import { setUp } from "../../toolchain/set-up.ts";

export const examples = [
  "aiwdb up",
  "aiwdb up --stack prod          # needs PULUMI_CONFIG_PASSPHRASE_FILE",
  "aiwdb up --rotate-certificates # new leaf certificates now, by reload",
];

export default defineCommand({
  meta: {
    name: "up",
    description:
      "Bring a stack up, or to what its settings and migrations say: engine, images, certificates, servers, database",
  },
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
        "The state was lost and the data volume kept: give every role a new password and go on with the data",
    },
    "rotate-certificates": {
      type: "boolean",
      default: false,
      description: "Replace every leaf certificate now instead of when it is due",
    },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const { stack } = args;
    let config = readStackConfig(stack);
    checkAgreement(config);
    const state = readStateFile(stack);
    const isNew = (state ?? []).length <= 1;
    clearDeadLocks(stack, output.warn);

    refuse(stack, await checkMachine({})); // before anything is built on a disk that is full
    const toolchain = await setUp({ report: output.progress });
    const docker = engineClient(toolchain.engine);
    const isLocal = isLocalEngine(toolchain.engine.host);
    if (isNew) config = await settleAddresses(docker, stack, isLocal, output.progress);
    const problems: Problem[] = (
      await Promise.all([checkMachine({ docker, isLocal }), obstacles(docker, config, isLocal)])
    ).flat();
    refuse(stack, problems);

    const resetPasswords = args["reset-passwords"] || (isNew && (await agreeToTakeOver(docker, stack)));

    const session = openSession(stack, toolchain);
    await ensureStack(session);
    await removeOrphans(docker, stack, readStateFile(stack) ?? [], output.progress);

    const environment: Record<string, string> = {};
    if (resetPasswords) environment["AIWDB_RESET_PASSWORDS"] = "1";
    if (args["rotate-certificates"]) environment["AIWDB_ROTATE_CERTIFICATES"] = new Date().toISOString();
    const withEnvironment: Session = { ...session, env: { ...session.env, ...environment } };

    if (!isNew && args.backup)
      await backUpBeforeMigrating(
        docker,
        stack,
        config.databaseName,
        config.rolloutPhase as Phase,
        state ?? [],
        output,
      );

    // A new stack's preview would list everything; one line says as much.
    if (isNew)
      output.progress(
        `creating stack ${stack}: certificates, network, PostgreSQL, PgBouncer, database ${config.databaseName}`,
      );
    const ask = !isNew && !args.yes && !isDisposable(stack) && process.stdin.isTTY && process.stdout.isTTY;
    const flags = [...(isNew ? ["--skip-preview"] : []), ...(ask ? [] : ["--yes"])];
    await deploy(withEnvironment, flags, output, args.json);

    const status = await readStatus(session, toolchain);
    output.text(statusText(status));
    output.json(status);
    if (!status.healthy) throw new StateError(`Stack "${stack}" is up, but not healthy; see above.`);
  },
});

/** Migrations may lose data by what they are told to do; stacks that are not disposable are backed up before any. */
async function backUpBeforeMigrating(
  docker: Docker,
  stack: string,
  database: string,
  phase: Phase,
  state: readonly StateResource[],
  output: Output,
): Promise<void> {
  const recorded = state.find(({ type }) => type === "aiwdb:index:Migrations");
  if (isDisposable(stack) || !recorded) return;
  const applied = (recorded.outputs?.["migrations"] ?? []) as readonly string[];
  const pending = upToPhase(readMigrations(MIGRATIONS_FOLDER), phase).filter(({ name }) => !applied.includes(name));
  if (pending.length === 0) return;
  output.progress(`${pending.length} pending: ${pending.map(({ name }) => name).join(", ")}`);
  await backUp(docker, stack, database, output.progress);
}

/**
 * A data volume without a state: the state was lost, or `down` kept a protected volume. Its passwords are known to nobody,
 * so going on means new ones.
 *
 * @returns false if there is no such volume
 * @throws StateError unless the user agrees
 */
async function agreeToTakeOver(docker: Docker, stack: string): Promise<boolean> {
  const { dataVolume } = engineNames(stack);
  const { volumes } = await listObjects(docker, stack);
  if (!volumes.includes(dataVolume)) return false;
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
          "Run `npm run up -- --reset-passwords` to keep the data and give every role a new password and certificate, " +
          "or restore the state, or remove the volume if the data is not needed.",
      },
    ],
  );
}

function refuse(stack: string, problems: readonly Problem[]): void {
  if (problems.length > 0)
    throw new StateError(`Stack "${stack}" cannot be brought up; nothing has been changed:`, problems);
}

const ADOPTED_TYPES = ["postgresql:index/role:Role", "postgresql:index/database:Database"];

/** Runs `pulumi up`; objects that exist in the cluster without the state knowing them are adopted by a second run. */
async function deploy(session: Session, flags: readonly string[], output: Output, json: boolean): Promise<void> {
  const up = (env: NodeJS.ProcessEnv, more: readonly string[] = []) =>
    display(
      { ...session, env },
      [
        "up",
        ...session.stackArguments,
        "--config-file",
        effectiveSettings(session),
        "--suppress-outputs",
        ...flags,
        ...more,
      ],
      json,
    );
  const first = await up(session.env);
  if (first.exitCode === 0) return;
  const text = first.stdout + first.stderr;
  const explained = explain(session, text);
  if (explained) throw explained;
  // A run that was killed after creating a role, or a state that was lost, leaves what now "already exists".
  const adoptable = /already exists/.test(text) ? await findAdoptable(session) : [];
  if (adoptable.length > 0) {
    output.warn(`taking over what is in the database without being in the state: ${adoptable.join(", ")}`);
    // Importing compares what is there; the run after it sets what differs, passwords among it.
    const adopted = await up(
      { ...session.env, AIWDB_ADOPT: adoptable.join(",") },
      ADOPTED_TYPES.flatMap((type) => ["--target", `**${type}**`]),
    );
    if (adopted.exitCode === 0 && (await up(session.env)).exitCode === 0) return;
  }
  throw new ToolError(
    `\`pulumi up\` failed for stack "${session.stack}"; what was created before is kept, and the next \`up\` goes on from there.`,
  );
}
