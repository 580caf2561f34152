import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { PROJECT } from "../infra/settings/names.ts";
import { hasCode, StateError } from "../base/errors.ts";
import { folders, privateFolder } from "../base/paths.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";

/** Nobody is writing a file any more that is older than this, in milliseconds. */
const HALF_WRITTEN_MS = 500;

/** A resource as the state records it. */
export interface StateResource {
  readonly urn: string;
  readonly type: string;
  readonly id?: string;
  /** URN of the component that the resource belongs to. */
  readonly parent?: string;
  readonly protect?: boolean;
  readonly inputs?: Readonly<Record<string, unknown>>;
  readonly outputs?: Readonly<Record<string, unknown>>;
}

/** A stack's state: there is none, or it has resources. A stack that was only initialized has an empty list of them. */
export type KnownState =
  | { readonly kind: "none" }
  | {
      readonly kind: "recorded";
      readonly resources: readonly StateResource[];
      /** Set where a run was killed and left operations that it had begun. */
      readonly isCutOff?: true;
    };

/** The state as Pulumi writes it. */
export interface Deployment {
  readonly resources?: readonly StateResource[] | null;
  readonly pending_operations?: readonly unknown[] | null;
}

/** The state that a deployment records. */
export function recorded(deployment: Deployment | null | undefined): KnownState {
  const isCutOff = (deployment?.pending_operations ?? []).length > 0;
  return { kind: "recorded", resources: deployment?.resources ?? [], ...(isCutOff ? { isCutOff } : {}) };
}

/** What a folder says of a stack's state. "elsewhere" is not "none": the state may be there, in another backend. */
export type FolderState = KnownState | { readonly kind: "elsewhere" };

/** The resources in a state, if there is one. */
export const resourcesOf = (state: KnownState): readonly StateResource[] =>
  state.kind === "none" ? [] : state.resources;

/** Whether a stack has not been brought up yet. Its state then has at most the entry of the stack itself. */
export const isNew = (state: KnownState): boolean => resourcesOf(state).length <= 1;

/** Where the state lives: `PULUMI_BACKEND_URL`, else Pulumi.yaml's `backend.url`, else a folder of this user's. */
export function backendUrl(): string {
  const fromEnvironment = process.env["PULUMI_BACKEND_URL"];
  if (fromEnvironment) return fromEnvironment;
  const project = parse(readFileSync(path.join(PACKAGE_ROOT, "Pulumi.yaml"), "utf8")) as { backend?: { url?: string } };
  return project.backend?.url ?? `file://${privateFolder(folders().state, "pulumi")}`;
}

/** Folder of a file backend; undefined for one that is elsewhere. */
export function backendFolder(url: string): string | undefined {
  if (!url.startsWith("file://")) return undefined;
  const location = url.slice("file://".length);
  if (location.startsWith("~")) return path.join(homedir(), location.slice(1), ".pulumi");
  return path.join(location.startsWith("/") ? fileURLToPath(url) : path.resolve(PACKAGE_ROOT, location), ".pulumi");
}

/** The stack's state in a file backend; undefined elsewhere. */
export function stateFile(stack: string, url: string = backendUrl()): string | undefined {
  const folder = backendFolder(url);
  return folder && path.join(folder, "stacks", PROJECT, `${stack}.json`);
}

/**
 * State of a stack in a file backend, read without starting Pulumi.
 *
 * @throws StateError when the file is cut off or is no JSON
 */
export function readStateFile(stack: string, url: string = backendUrl()): FolderState {
  const file = stateFile(stack, url);
  if (!file) return { kind: "elsewhere" };
  if (!existsSync(file)) return { kind: "none" };
  try {
    const state = JSON.parse(readFileSync(file, "utf8")) as { checkpoint?: { latest?: Deployment | null } };
    return recorded(state.checkpoint?.latest);
  } catch (cause) {
    const backup = newestReadable(stack, file);
    const remedy = backup
      ? `Put the last good one back, then run the command again: cp '${backup}' '${file}'`
      : `There is no readable backup beside it. Restore the file from yours, or move it away and run \`npm run up -- --stack ${stack} --reset-passwords\`, which keeps the data.`;
    const problem = { subject: file, problem: "is cut off or is no JSON", remedy };
    throw new StateError(`The state of stack "${stack}" cannot be read; nothing has been changed:`, [problem], {
      cause,
    });
  }
}

/** Removes what Pulumi keeps of a stack that is gone in a file backend: earlier states, and empty folders. */
export function forgetHistory(stack: string): void {
  const url = backendUrl();
  const folder = backendFolder(url);
  const file = stateFile(stack, url);
  if (folder === undefined || file === undefined || existsSync(file)) return;
  for (const left of [`${file}.bak`, `${file}.bak.attrs`]) rmSync(left, { force: true });
  for (const kind of ["backups", "history", path.join("locks", "organization")])
    rmSync(path.join(folder, kind, PROJECT, stack), { recursive: true, force: true });
}

/** Pulumi keeps the state before the last one beside it, and the state of each update in its backups. */
function newestReadable(stack: string, file: string): string | undefined {
  const backups = path.join(path.dirname(file), "..", "..", "backups", PROJECT, stack);
  const names = existsSync(backups) ? readdirSync(backups).filter((name) => name.endsWith(".json")) : [];
  const newestFirst = names.toSorted().toReversed();
  return [`${file}.bak`, ...newestFirst.map((name) => path.join(backups, name))].find(isJson);
}

function isJson(file: string): boolean {
  try {
    JSON.parse(readFileSync(file, "utf8"));
    return true;
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, "ENOENT")) return false;
    throw error; // a file that we may not read is not broken, and must not be removed
  }
}

/**
 * Removes attribute files that a killed run left half-written. Pulumi's file backend keeps one beside each of its
 * files. It can do without them, but it reads no stack of the folder while one is broken. This waits while somebody may
 * be writing one.
 */
export function repairAttributes(): void {
  const folder = backendFolder(backendUrl());
  const stacks = folder && path.join(folder, "stacks", PROJECT);
  if (!stacks || !existsSync(stacks)) return;
  for (const name of readdirSync(stacks).filter((entry) => entry.endsWith(".attrs"))) {
    const file = path.join(stacks, name);
    while (existsSync(file) && !isJson(file)) {
      const changed = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      if (Date.now() - changed > HALF_WRITTEN_MS) rmSync(file, { force: true });
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20); // milliseconds; nothing else is at work yet
    }
  }
}
