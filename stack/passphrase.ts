import { randomBytes } from "node:crypto";
import { existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { passphraseFile } from "../infra/settings/places.ts";
import { ConfigError, hasCode } from "../base/errors.ts";
import { privateFolder } from "../base/paths.ts";
import type { FolderState } from "./backend.ts";
import { refusal } from "./refusal.ts";

/** Whether a stack is made to be thrown away, so that a generated passphrase is good enough. */
export function isDisposable(stack: string): boolean {
  return stack === "dev" || /^(ci|pr)-/.test(stack);
}

/** Whether the user gave a passphrase by Pulumi's own variables. */
export function passphraseGiven(): boolean {
  return process.env["PULUMI_CONFIG_PASSPHRASE"] !== undefined || Boolean(process.env["PULUMI_CONFIG_PASSPHRASE_FILE"]);
}

/**
 * Environment that opens the stack's secrets.
 *
 * A disposable stack has a passphrase of its own, whatever the variables say. A shell in which they are set for prod
 * must open dev too, and any other shell must open a dev that was made there. The variables count for a disposable
 * stack only where it has no passphrase: somebody made it with them, or its state is shared with machines that lack the
 * file.
 *
 * @throws ConfigError for any other stack without a passphrase
 * @throws StateError for a disposable one whose passphrase is gone
 */
export function passphraseEnv(stack: string, state: FolderState["kind"]): Record<string, string | undefined> {
  const file = passphraseFile(stack);
  // Pulumi takes the variable before the file.
  const own = { PULUMI_CONFIG_PASSPHRASE: undefined, PULUMI_CONFIG_PASSPHRASE_FILE: file };
  const disposable = isDisposable(stack);
  if (disposable && (hasText(file) || state === "none")) return own;
  if (passphraseGiven()) {
    checkGiven(disposable);
    return {};
  }
  if (hasText(file)) return own;
  if (!disposable) {
    throw new ConfigError(`Stack "${stack}" needs a passphrase; nothing has been changed:`, [
      {
        subject: "PULUMI_CONFIG_PASSPHRASE_FILE",
        problem: "neither it nor PULUMI_CONFIG_PASSPHRASE is set; it encrypts keys and passwords in the state",
        remedy:
          "Put a long random text into a file of mode 0600 that is backed up, and set PULUMI_CONFIG_PASSPHRASE_FILE to its path. Without it the stack can never be changed again.",
      },
    ]);
  }
  if (state === "elsewhere") return own; // `ensureStack` makes it with the state, if there is none yet
  throw refusal(`The passphrase of stack "${stack}" is lost`, {
    subject: file,
    problem: "is not there, and the state has secrets that only it opens",
    remedy:
      "Put the file back, or set PULUMI_CONFIG_PASSPHRASE[_FILE] to the one the stack was made with. If it is gone for good, " +
      `move the state away and run \`npm run up -- --stack ${stack} --reset-passwords\`, which keeps the data.`,
  });
}

/** @throws ConfigError when the user's file is not there, or when the passphrase is empty and may not be */
function checkGiven(mayBeEmpty: boolean): void {
  const text = process.env["PULUMI_CONFIG_PASSPHRASE"];
  const file = process.env["PULUMI_CONFIG_PASSPHRASE_FILE"] ?? "";
  const subject = text === undefined ? "PULUMI_CONFIG_PASSPHRASE_FILE" : "PULUMI_CONFIG_PASSPHRASE";
  if (text === undefined && !existsSync(file))
    throw new ConfigError("The passphrase cannot be read:", [{ subject, problem: `there is no file ${file}` }]);
  if (mayBeEmpty || (text ?? readFileSync(file, "utf8")).trim() !== "") return;
  throw new ConfigError("The passphrase cannot be used:", [
    {
      subject,
      problem: `${text === undefined ? `${file} is` : "is"} empty, so the state's secrets would be readable for everybody`,
      remedy: "Give a real one.",
    },
  ]);
}

function hasText(file: string): boolean {
  return existsSync(file) && readFileSync(file, "utf8").trim() !== "";
}

/** Makes a disposable stack's own passphrase, unless it has one. Two runs at once get the same one. */
export function makePassphrase(stack: string): void {
  const file = passphraseFile(stack);
  if (hasText(file)) return;
  privateFolder(path.dirname(file));
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "w" });
  try {
    linkSync(temporary, file);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    if (!hasText(file)) renameSync(temporary, file); // an empty one opens nothing
  } finally {
    rmSync(temporary, { force: true });
  }
}
