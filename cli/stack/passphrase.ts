import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { passphraseFile } from "../../infra/local-files.ts";
import { ConfigError } from "../../toolchain/errors.ts";
import { privateFolder } from "../../toolchain/paths.ts";

/** Stacks that are made to be thrown away, so that a generated passphrase is good enough. */
export function isDisposable(stack: string): boolean {
  return stack === "dev" || /^(ci|pr)-/.test(stack);
}

/** True when the user gave one by Pulumi's own variables. */
export function passphraseGiven(): boolean {
  return process.env["PULUMI_CONFIG_PASSPHRASE"] !== undefined || Boolean(process.env["PULUMI_CONFIG_PASSPHRASE_FILE"]);
}

/**
 * Environment that opens the stack's secrets: the user's own passphrase if given, else the generated one of dev.
 *
 * @throws ConfigError for any other stack without a passphrase
 */
export function passphraseEnv(stack: string): Record<string, string> {
  const given = process.env["PULUMI_CONFIG_PASSPHRASE_FILE"];
  if (given && !existsSync(given)) {
    throw new ConfigError("The passphrase cannot be read:", [
      { subject: "PULUMI_CONFIG_PASSPHRASE_FILE", problem: `there is no file ${given}` },
    ]);
  }
  if (given && !isDisposable(stack) && readFileSync(given, "utf8").trim() === "") {
    throw new ConfigError("The passphrase cannot be used:", [
      {
        subject: "PULUMI_CONFIG_PASSPHRASE_FILE",
        problem: `${given} is empty, so the state's secrets would be readable for everybody`,
        remedy: "Put a real one into it.",
      },
    ]);
  }
  if (passphraseGiven()) {
    if (!given && process.env["PULUMI_CONFIG_PASSPHRASE"] === "" && !isDisposable(stack)) {
      throw new ConfigError("The passphrase cannot be used:", [
        {
          subject: "PULUMI_CONFIG_PASSPHRASE",
          problem: "is empty, so the state's secrets would be readable for everybody",
          remedy: "Give a real one.",
        },
      ]);
    }
    return {};
  }
  const file = passphraseFile(stack);
  if (existsSync(file) && readFileSync(file, "utf8").trim() !== "") return { PULUMI_CONFIG_PASSPHRASE_FILE: file };
  if (!isDisposable(stack)) {
    throw new ConfigError(`Stack "${stack}" needs a passphrase; nothing has been changed:`, [
      {
        subject: "PULUMI_CONFIG_PASSPHRASE_FILE",
        problem: "neither it nor PULUMI_CONFIG_PASSPHRASE is set; it encrypts keys and passwords in the state",
        remedy:
          "Put a long random text into a file of mode 0600 that is backed up, and set PULUMI_CONFIG_PASSPHRASE_FILE to its path. Without it the stack can never be changed again.",
      },
    ]);
  }
  privateFolder(path.dirname(file));
  writeFileSync(file, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "w" });
  return { PULUMI_CONFIG_PASSPHRASE_FILE: file };
}
