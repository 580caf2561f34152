import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import path from "node:path";
import { clientCertificateFolder, passphraseFile, stackFolder } from "../infra/settings/places.ts";
import { readSettingsFile, saltLine } from "../infra/settings/file.ts";
import type { ConnectionInfo } from "../infra/database-stack.ts";
import { SESSION_OPTIONS } from "../database/connection.ts";
import { StateError, ToolError } from "../base/errors.ts";
import type { HeldLock } from "../base/lock.ts";
import { readJsonIfWhole, replaceFile } from "../base/text-file.ts";
import { folders, privateFolder } from "../base/paths.ts";
import type { Toolchain } from "../toolchain/set-up.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import {
  backendUrl,
  forgetHistory,
  readStateFile,
  recorded,
  repairAttributes,
  stateFile,
  type Deployment,
  type KnownState,
} from "./backend.ts";
import { forgetPulumiRuns } from "./pulumi-lock.ts";
import { capture, type Session } from "./pulumi-run.ts";
import { NO_LIBPQ_VARIABLES } from "../database/libpq.ts";
import { isDisposable, makePassphrase, passphraseEnv, passphraseGiven } from "./passphrase.ts";
import { type Checkpoint, outputsIn } from "./state-outputs.ts";

/** Stacks whose secrets Pulumi Cloud keeps need no passphrase. */
function needsPassphrase(stack: string): boolean {
  const { secretsProvider = "passphrase" } = readSettingsFile(stack);
  return !backendUrl().startsWith("http") && secretsProvider.startsWith("passphrase");
}

/** `aiwdb env --pulumi` sets it for one stack; in the same shell another one must not get its settings. */
const NO_OTHER_SETTINGS = { PULUMI_OPTION_CONFIG_FILE: undefined };

/**
 * The PostgreSQL provider reads libpq's variables: none of the caller's, and the time-outs that our own connections
 * have.
 */
const PROVIDER_VARIABLES = { ...NO_LIBPQ_VARIABLES, PGOPTIONS: SESSION_OPTIONS };

/** The environment and arguments for a stack. Nothing is started or created. */
export function openSession(stack: string, toolchain: Pick<Toolchain, "pulumi" | "env">, lock?: HeldLock): Session {
  repairAttributes();
  const passphrase = needsPassphrase(stack) ? passphraseEnv(stack, readStateFile(stack).kind) : {};
  return {
    stack,
    pulumi: toolchain.pulumi.bin,
    env: {
      ...toolchain.env,
      ...PROVIDER_VARIABLES,
      ...NO_OTHER_SETTINGS,
      PULUMI_BACKEND_URL: backendUrl(),
      ...passphrase,
    },
    stackArguments: ["--stack", stack],
    settingsFolder: path.join(folders().state, "settings"),
    ...(lock ? { lock } : {}),
  };
}

/** The passphrase that a first `up` would take, but for one that it would make. */
function temporaryPassphrase(stack: string): Record<string, string | undefined> {
  if (isDisposable(stack) && existsSync(passphraseFile(stack))) return passphraseEnv(stack, "none");
  return passphraseGiven() ? {} : { PULUMI_CONFIG_PASSPHRASE: "preview" };
}

/** A session on a stack that does not exist yet, with a state that is thrown away: a preview makes nothing. */
export function openTemporarySession(
  stack: string,
  toolchain: Pick<Toolchain, "pulumi" | "env">,
): Session & { remove(): void } {
  const folder = privateFolder(folders().state, `preview-${process.pid}`);
  const env = {
    ...toolchain.env,
    ...PROVIDER_VARIABLES,
    ...NO_OTHER_SETTINGS,
    PULUMI_BACKEND_URL: `file://${folder}`,
    // A settings file may have secrets, which its passphrase opens.
    ...(needsPassphrase(stack) ? temporaryPassphrase(stack) : {}),
  };
  return {
    stack,
    pulumi: toolchain.pulumi.bin,
    env,
    stackArguments: ["--stack", stack],
    settingsFolder: path.join(folder, "settings"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/**
 * The settings file Pulumi reads. Pulumi writes the passphrase's salt into it, which for a generated passphrase belongs
 * to this machine and not into the checkout: such stacks get a copy beside the state, made from the checkout's at each
 * run.
 */
export function effectiveSettings(session: Session): string {
  const settings = readSettingsFile(session.stack);
  if (settings.hasSecretsProvider) return settings.path;
  const copy = path.join(projectFolder(session), `Pulumi.${session.stack}.yaml`);
  const salt = existsSync(copy) ? saltLine(readFileSync(copy, "utf8")) : undefined;
  writeIfChanged(copy, `${settings.text.trimEnd()}\n${salt ? `${salt}\n` : ""}`);
  return copy;
}

/** A folder with the project's name and nothing else, for commands that would write into the checkout's files. */
function projectFolder({ settingsFolder }: Session): string {
  const folder = privateFolder(settingsFolder);
  writeIfChanged(path.join(folder, "Pulumi.yaml"), "name: ai-workflow-database\nruntime: nodejs\n");
  return folder;
}

function writeIfChanged(file: string, text: string): void {
  if (!existsSync(file) || readFileSync(file, "utf8") !== text) replaceFile(file, text);
}

function removeIfEmpty(folder: string): void {
  if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
}

/** Removes the state of a stack without resources, and what was kept beside it. */
export async function forgetStack(session: Session): Promise<void> {
  const { stack } = session;
  const { exitCode, stderr } = await capture(session, [
    "stack",
    "rm",
    "--yes",
    "--preserve-config",
    "--non-interactive",
    ...session.stackArguments,
  ]);
  if (exitCode !== 0)
    throw (
      explain(session, stderr) ?? new ToolError(`The state of stack "${stack}" could not be removed: ${stderr.trim()}`)
    );
  forgetFiles(session);
}

/**
 * Removes what this machine keeps of a stack that is gone: the certificates of its clients, our copy of its settings,
 * and the passphrase that was made for it. The settings file in the checkout and backups stay.
 */
export function forgetFiles({ stack, settingsFolder }: Session): void {
  rmSync(path.join(settingsFolder, `Pulumi.${stack}.yaml`), { force: true });
  rmSync(clientCertificateFolder(stack), { recursive: true, force: true });
  forgetPulumiRuns(stack);
  // One that also opens secrets in the settings file is needed again.
  if (isDisposable(stack) && !readSettingsFile(stack).hasSecretsProvider) {
    rmSync(passphraseFile(stack), { force: true });
    forgetHistory(stack); // its secrets can't be opened any more
  }
  removeIfEmpty(stackFolder(stack));
}

/**
 * The stack's state, wherever it is kept.
 *
 * @throws UserError when it cannot be read: that is not the same as none
 */
export async function readState(session: Session): Promise<KnownState> {
  const url = session.env["PULUMI_BACKEND_URL"] ?? backendUrl();
  const inFolder = readStateFile(session.stack, url);
  if (inFolder.kind !== "elsewhere") return inFolder;
  const exported = await capture(session, ["stack", "export", "--non-interactive", ...session.stackArguments]);
  if (exported.exitCode === 0) {
    return recorded((JSON.parse(exported.stdout) as { deployment?: Deployment | null }).deployment);
  }
  // It fails for a stack that does not exist and for a backend that does not answer; only the latter fails here too.
  const listed = await capture(session, ["stack", "ls", "--json", "--non-interactive"]);
  const names =
    listed.exitCode === 0 ? (JSON.parse(listed.stdout) as { name: string }[]).map(({ name }) => name) : undefined;
  if (names && !names.some((name) => name.split("/").at(-1) === session.stack)) return { kind: "none" };
  throw (
    explain(session, exported.stderr) ??
    new StateError(`The state of stack "${session.stack}" cannot be read; nothing has been changed:`, [
      {
        subject: url,
        problem: (names ? exported : listed).stderr.trim(),
        remedy: "See whether it can be reached, and whether its credentials are set.",
      },
    ])
  );
}

/** Makes the stack's state if there is none. */
export async function ensureStack(session: Session): Promise<void> {
  if ((await readState(session)).kind !== "none") return;
  const own = passphraseFile(session.stack);
  if (isDisposable(session.stack) && session.env["PULUMI_CONFIG_PASSPHRASE_FILE"] === own)
    makePassphrase(session.stack);
  const settings = readSettingsFile(session.stack);
  // `stack init` has no --config-file and writes the salt beside Pulumi.yaml.
  const folder = settings.hasSecretsProvider ? PACKAGE_ROOT : projectFolder(session);
  const copy = path.join(folder, `Pulumi.${session.stack}.yaml`);
  if (folder !== PACKAGE_ROOT) rmSync(copy, { force: true }); // the salt of a stack that is gone
  const { exitCode, stderr } = await capture(
    session,
    ["stack", "init", session.stack, "--non-interactive", "--no-select"],
    folder,
  );
  if (exitCode === 0) return;
  if (settings.hasSecretsProvider && INCORRECT_PASSPHRASE.test(stderr)) throw foreignSecrets(session, settings.path);
  throw new ToolError(
    `The state of stack "${session.stack}" could not be created in ${backendUrl()}: ${stderr.trim()}`,
  );
}

const INCORRECT_PASSPHRASE = /incorrect passphrase/i;

/** The settings file came from elsewhere, and there is no state yet that could say what its passphrase was. */
function foreignSecrets(session: Session, file: string): StateError {
  const { variable, own } = passphraseOf(session);
  return new StateError(`The secrets of stack "${session.stack}" cannot be opened here; nothing has been created:`, [
    {
      subject: path.basename(file),
      problem: "was encrypted with another passphrase, on another machine or by somebody else",
      remedy:
        `${own ? `Put that passphrase into ${own}` : `Set ${variable} to that passphrase`}, or take \`encryptionsalt\` and the ` +
        `\`secure\` values out of the file and run \`npx aiwdb pulumi --stack ${session.stack} -- config set --secret …\` for each.`,
    },
  ]);
}

/** The variable that says the passphrase, and the file if it is the stack's own. */
function passphraseOf({ stack, env }: Session): {
  variable: string;
  file: string | undefined;
  own: string | undefined;
} {
  const file = env["PULUMI_CONFIG_PASSPHRASE_FILE"];
  return {
    variable:
      env["PULUMI_CONFIG_PASSPHRASE"] === undefined ? "PULUMI_CONFIG_PASSPHRASE_FILE" : "PULUMI_CONFIG_PASSPHRASE",
    file,
    own: file === passphraseFile(stack) ? file : undefined,
  };
}

/** Stack outputs with their secrets. */
export interface StackOutputs {
  readonly connections: ConnectionInfo;
  readonly passwords: Readonly<Record<string, string>>;
}

/** @throws StateError when there is no such stack, or it was never brought up */
export async function readOutputs(session: Session): Promise<StackOutputs> {
  const missing = new StateError(`Stack "${session.stack}" is not up.`, [
    {
      subject: session.stack,
      problem: "it has no outputs yet",
      remedy: `Run \`npm run up -- --stack ${session.stack}\`.`,
    },
  ]);
  if ((await readState(session)).kind === "none") throw missing;
  const file = stateFile(session.stack, session.env["PULUMI_BACKEND_URL"]);
  // Pulumi may be writing it just now; then it is asked.
  const checkpoint = file === undefined ? undefined : readJsonIfWhole<Checkpoint>(file);
  const known = checkpoint && outputsIn(checkpoint, session.env);
  const outputs = (known || (await askForOutputs(session))) as Partial<StackOutputs>;
  if (!outputs.connections || !outputs.passwords) throw missing;
  return outputs as StackOutputs;
}

async function askForOutputs(session: Session): Promise<object> {
  const { exitCode, stdout, stderr } = await capture(session, [
    "stack",
    "output",
    "--json",
    "--show-secrets",
    ...session.stackArguments,
  ]);
  if (exitCode === 0) return JSON.parse(stdout) as object;
  throw (
    explain(session, stderr) ??
    new ToolError(`The outputs of stack "${session.stack}" cannot be read: ${stderr.trim()}`)
  );
}

/** What Pulumi's own message means here, where it does not say so itself. */
export function explain(session: Session, output: string): StateError | undefined {
  const { variable, file, own } = passphraseOf(session);
  if (INCORRECT_PASSPHRASE.test(output)) {
    return new StateError(
      `The passphrase is not the one stack "${session.stack}" was made with; nothing has been changed:`,
      [
        {
          subject: own ?? variable,
          problem: "does not open the secrets in the state",
          remedy: own ? "Put back the one the stack was created with." : "Set the one the stack was created with.",
        },
      ],
    );
  }
  if (file !== undefined && !existsSync(file) && output.includes(file)) {
    return new StateError(`The passphrase of stack "${session.stack}" is not here; nothing has been changed:`, [
      {
        subject: file,
        problem: "is not there; the stack was made on another machine, or with a passphrase of yours",
        remedy: "Set PULUMI_CONFIG_PASSPHRASE[_FILE] to the one it was created with.",
      },
    ]);
  }
  if (/currently locked by/i.test(output)) {
    return new StateError(`Stack "${session.stack}" is in use; nothing has been changed:`, [
      {
        subject: "lock",
        problem: output.replace(/^.*?currently locked by/is, "the state is locked by").trim(),
        remedy: `Wait until it has ended. If it is gone for good: \`aiwdb pulumi --stack ${session.stack} -- cancel\`.`,
      },
    ]);
  }
  return undefined;
}
