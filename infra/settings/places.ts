import { readdirSync } from "node:fs";
import path from "node:path";
import { folders } from "../../base/paths.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";

/** The settings file of a stack in the checkout; a stack without one has the defaults. */
export function settingsPath(stack: string): string {
  return path.join(PACKAGE_ROOT, `Pulumi.${stack}.yaml`);
}

/** The stacks that have a settings file in the checkout. */
export function stacksWithSettings(): string[] {
  return readdirSync(PACKAGE_ROOT).flatMap((file) => /^Pulumi\.([^.]+)\.yaml$/.exec(file)?.[1] ?? []);
}

/** What belongs to a stack on this machine, outside the checkout: found again from any clone of it. */
export function stackFolder(stack: string): string {
  return path.join(folders().data, "stacks", stack);
}

/** Certificates and keys of the client roles. */
export function clientCertificateFolder(stack: string): string {
  return path.join(stackFolder(stack), "certs");
}

/** Certificates that `aiwdb certs issue` made here, without their keys. */
export function issuedFolder(stack: string): string {
  return path.join(stackFolder(stack), "issued");
}

/** Dumps that were made before changes; `down` leaves them. */
export function backupFolder(stack: string): string {
  return path.join(stackFolder(stack), "backups");
}

/** Passphrase that encrypts the secrets in the stack's state; generated for dev only. */
export function passphraseFile(stack: string): string {
  return path.join(stackFolder(stack), "passphrase");
}
