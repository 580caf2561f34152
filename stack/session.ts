import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import path from "node:path";
import { clientCertificateFolder, issuedFolder, passphraseFile, stackFolder } from "../infra/settings/places.ts";
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
import { inUse, refusal } from "./refusal.ts";
import { NO_LIBPQ_VARIABLES } from "../database/libpq.ts";
import { isDisposable, makePassphrase, passphraseEnv, passphraseGiven } from "./passphrase.ts";
import { type Checkpoint, outputsIn } from "./state-outputs.ts";

/** Stacks whose secrets Pulumi Cloud keeps need no passphrase. */
function needsPassphrase(stack: string): boolean {
  const { secretsProvider = "passphrase" } = readSettingsFile(stack);
  return !backendUrl().startsWith("http") && secretsProvider.startsWith("passphrase");
}

/** What of the toolchain a session needs. */
type Programs = Pick<Toolchain, "pulumi" | "env">;

/** A session with its files in a folder, and the variables that say where the state is and what opens it. */
function sessionIn(folder: string, stack: string, toolchain: Programs, variables: NodeJS.ProcessEnv): Session {
  return {
    stack,
    pulumi: toolchain.pulumi.bin,
    env: {
      ...toolchain.env,
      // The PostgreSQL provider reads libpq's variables. It gets none of the caller's, and our own connections'
      // time-outs.
      ...NO_LIBPQ_VARIABLES,
      PGOPTIONS: SESSION_OPTIONS,
      // `aiwdb env --pulumi` sets it for one stack. A command on another one in the same shell must not get its
      // settings.
      PULUMI_OPTION_CONFIG_FILE: undefined,
      ...variables,
    },
    stackArguments: ["--stack", stack],
    settingsFolder: path.join(folder, "settings"),
  };
}

/** Everything that a `pulumi` process on a stack needs. This starts and makes nothing. */
export function openSession(stack: string, toolchain: Programs, lock?: HeldLock): Session {
  repairAttributes();
  const passphrase = needsPassphrase(stack) ? passphraseEnv(stack, readStateFile(stack).kind) : {};
  const variables = { PULUMI_BACKEND_URL: backendUrl(), ...passphrase };
  return { ...sessionIn(folders().state, stack, toolchain, variables), ...(lock ? { lock } : {}) };
}

/** The passphrase that a first `up` would take; a fixed one where `up` would make one. */
function temporaryPassphrase(stack: string): Record<string, string | undefined> {
  if (isDisposable(stack) && existsSync(passphraseFile(stack))) return passphraseEnv(stack, "none");
  return passphraseGiven() ? {} : { PULUMI_CONFIG_PASSPHRASE: "preview" };
}

/** A session on a stack that does not exist yet, for a preview. `remove` deletes its state and its files. */
export function openTemporarySession(stack: string, toolchain: Programs): Session & { remove(): void } {
  const folder = privateFolder(folders().state, `preview-${process.pid}`);
  // The settings file may have secrets, which its passphrase opens.
  const passphrase = needsPassphrase(stack) ? temporaryPassphrase(stack) : {};
  const session = sessionIn(folder, stack, toolchain, { PULUMI_BACKEND_URL: `file://${folder}`, ...passphrase });
  return { ...session, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/**
 * The path of the settings file that Pulumi reads. Pulumi writes the passphrase's salt into it. The salt of a generated
 * passphrase belongs to this machine and not into the checkout, so that such a stack gets a copy beside its state. Each
 * run makes the copy anew from the file in the checkout.
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

/**
 * Runs `pulumi` without showing anything.
 *
 * @param failed what to tell the user when Pulumi fails; its own message follows
 * @returns what Pulumi printed on stdout
 * @throws StateError where we know what its message means here, otherwise ToolError
 */
export async function runPulumi(session: Session, args: readonly string[], failed: string): Promise<string> {
  const { exitCode, stdout, stderr } = await capture(session, args);
  if (exitCode === 0) return stdout;
  throw explain(session, stderr) ?? new ToolError(failed + (stderr.trim() || stdout.trim()).slice(-2_000));
}

/** Removes the state of a stack without resources, and what this machine keeps beside it. */
export async function forgetStack(session: Session): Promise<void> {
  const rm = ["stack", "rm", "--yes", "--preserve-config", "--non-interactive", ...session.stackArguments];
  await runPulumi(session, rm, `The state of stack "${session.stack}" could not be removed: `);
  forgetFiles(session);
}

/**
 * Removes what this machine keeps of a stack that is gone: its clients' certificates and the record of issued ones, our
 * copy of its settings, and the passphrase that we made for it. The settings file in the checkout and the backups stay.
 */
export function forgetFiles({ stack, settingsFolder }: Session): void {
  rmSync(path.join(settingsFolder, `Pulumi.${stack}.yaml`), { force: true });
  for (const folder of [clientCertificateFolder(stack), issuedFolder(stack)])
    rmSync(folder, { recursive: true, force: true });
  forgetPulumiRuns(stack);
  // A new stack of this name needs a passphrase that also opens secrets in the settings file.
  if (isDisposable(stack) && !readSettingsFile(stack).hasSecretsProvider) {
    rmSync(passphraseFile(stack), { force: true });
    forgetHistory(stack); // nothing opens its secrets any more
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
  // The export fails for a stack that does not exist and for a backend that does not answer. Only the latter fails
  // here.
  const listed = await capture(session, ["stack", "ls", "--json", "--non-interactive"]);
  const names =
    listed.exitCode === 0 ? (JSON.parse(listed.stdout) as { name: string }[]).map(({ name }) => name) : undefined;
  if (names && !names.some((name) => name.split("/").at(-1) === session.stack)) return { kind: "none" };
  throw (
    explain(session, exported.stderr) ??
    refusal(`The state of stack "${session.stack}" cannot be read`, {
      subject: url,
      problem: (names ? exported : listed).stderr.trim(),
      remedy: "See whether it can be reached, and whether its credentials are set.",
    })
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
  const init = ["stack", "init", session.stack, "--non-interactive", "--no-select"];
  const { exitCode, stderr } = await capture(session, init, folder);
  if (exitCode === 0) return;
  if (settings.hasSecretsProvider && INCORRECT_PASSPHRASE.test(stderr)) throw foreignSecrets(session, settings.path);
  throw new ToolError(
    `The state of stack "${session.stack}" could not be created in ${backendUrl()}: ${stderr.trim()}`,
  );
}

const INCORRECT_PASSPHRASE = /incorrect passphrase/i;

/** The error where the settings file came from elsewhere, and no state can say yet which passphrase it had. */
function foreignSecrets(session: Session, file: string): StateError {
  const { variable, own } = passphraseOf(session);
  const remedy =
    `${own ? `Put that passphrase into ${own}` : `Set ${variable} to that passphrase`}, or take \`encryptionsalt\` and the ` +
    `\`secure\` values out of the file and run \`npx aiwdb pulumi --stack ${session.stack} -- config set --secret …\` for each.`;
  const problem = "was encrypted with another passphrase, on another machine or by somebody else";
  return new StateError(`The secrets of stack "${session.stack}" cannot be opened here; nothing has been created:`, [
    { subject: path.basename(file), problem, remedy },
  ]);
}

/** The variable that says the passphrase, the file that it names, and the same file if it is the stack's own. */
function passphraseOf({ stack, env }: Session) {
  const file = env["PULUMI_CONFIG_PASSPHRASE_FILE"];
  const variable =
    env["PULUMI_CONFIG_PASSPHRASE"] === undefined ? "PULUMI_CONFIG_PASSPHRASE_FILE" : "PULUMI_CONFIG_PASSPHRASE";
  return { variable, file, own: file === passphraseFile(stack) ? file : undefined };
}

/** Stack outputs with their secrets. */
export interface StackOutputs {
  readonly connections: ConnectionInfo;
  readonly passwords: Readonly<Record<string, string>>;
}

/** Outputs in the state file; undefined where the file is elsewhere, or Pulumi has to read it. See `outputsIn`. */
function openedOutputs({ stack, env }: Session, isWanted?: Parameters<typeof outputsIn>[2]): object | undefined {
  const file = stateFile(stack, env["PULUMI_BACKEND_URL"]);
  const checkpoint = file === undefined ? undefined : readJsonIfWhole<Checkpoint>(file);
  return checkpoint && outputsIn(checkpoint, env, isWanted);
}

/**
 * Outputs of one resource of the stack, with their secrets.
 *
 * @throws UserError when the state cannot be read or its secrets cannot be opened
 */
export async function readResourceOutputs(session: Session, urn: string): Promise<Readonly<Record<string, unknown>>> {
  const opened = openedOutputs(session, (resource) => resource.urn === urn);
  if (opened) return opened as Readonly<Record<string, unknown>>;
  const command = ["stack", "export", "--show-secrets", "--non-interactive", ...session.stackArguments];
  const text = await runPulumi(session, command, `The state of stack "${session.stack}" cannot be read: `);
  const { deployment } = JSON.parse(text) as { deployment?: Deployment | null };
  const found = deployment?.resources?.find((resource) => resource.urn === urn)?.outputs ?? {};
  return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, plain(value)]));
}

/** A value of a state exported with its secrets: each secret is an object around its JSON text. */
function plain(value: unknown): unknown {
  const { plaintext } = (value ?? {}) as { plaintext?: string };
  return plaintext === undefined ? value : (JSON.parse(plaintext) as unknown);
}

/** @throws StateError when there is no such stack, or it was never brought up */
export async function readOutputs(session: Session): Promise<StackOutputs> {
  const { stack, stackArguments } = session;
  const missing = new StateError(`Stack "${stack}" is not up.`, [
    { subject: stack, problem: "it has no outputs yet", remedy: `Run \`npm run up -- --stack ${stack}\`.` },
  ]);
  if ((await readState(session)).kind === "none") throw missing;
  let outputs = openedOutputs(session) as Partial<StackOutputs> | undefined;
  if (outputs === undefined) {
    // The file is elsewhere, or has another form, or Pulumi is writing it just now.
    const command = ["stack", "output", "--json", "--show-secrets", ...stackArguments];
    outputs = JSON.parse(
      await runPulumi(session, command, `The outputs of stack "${stack}" cannot be read: `),
    ) as Partial<StackOutputs>;
  }
  if (!outputs.connections || !outputs.passwords) throw missing;
  return outputs as StackOutputs;
}

/** The error that Pulumi's message stands for here; undefined where the message says enough itself. */
export function explain(session: Session, output: string): StateError | undefined {
  const { stack } = session;
  const { variable, file, own } = passphraseOf(session);
  if (INCORRECT_PASSPHRASE.test(output)) {
    return refusal(`The passphrase is not the one stack "${stack}" was made with`, {
      subject: own ?? variable,
      problem: "does not open the secrets in the state",
      remedy: own ? "Put back the one the stack was created with." : "Set the one the stack was created with.",
    });
  }
  if (file !== undefined && !existsSync(file) && output.includes(file)) {
    return refusal(`The passphrase of stack "${stack}" is not here`, {
      subject: file,
      problem: "is not there; the stack was made on another machine, or with a passphrase of yours",
      remedy: "Set PULUMI_CONFIG_PASSPHRASE[_FILE] to the one it was created with.",
    });
  }
  if (!/currently locked by/i.test(output)) return undefined;
  return inUse(
    stack,
    output.replace(/^.*?currently locked by/is, "the state is locked by").trim(),
    `Wait until it has ended. If it is gone for good: \`aiwdb pulumi --stack ${stack} -- cancel\`.`,
  );
}
