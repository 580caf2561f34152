import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { folders } from "../../base/paths.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { ADDRESS_SETTINGS, isDerived, type Addresses } from "./addresses.ts";
import { PROJECT, STANDARD_DATABASE_NAME } from "./names.ts";

/** What belongs to a stack on this machine, outside the checkout: found again from any clone of it. */
export function stackFolder(stack: string): string {
  return path.join(folders().data, "stacks", stack);
}

/** Certificates and keys of the client roles. */
export function clientCertificateFolder(stack: string): string {
  return path.join(stackFolder(stack), "certs");
}

/** Dumps that were made before changes; `down` leaves them. */
export function backupFolder(stack: string): string {
  return path.join(stackFolder(stack), "backups");
}

/** Passphrase that encrypts the secrets in the stack's state; generated for dev only. */
export function passphraseFile(stack: string): string {
  return path.join(stackFolder(stack), "passphrase");
}

/** Ports and subnet the stack has on this machine where the ones derived from its name were taken. */
export function addressFile(stack: string): string {
  return path.join(stackFolder(stack), "addresses.json");
}

/** Settings with the addresses chosen on this machine in place of derived ones; what is given stays. */
export function withChosenAddresses(
  stack: string,
  settings: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const file = addressFile(stack);
  if (!existsSync(file)) return { ...settings };
  const chosen = JSON.parse(readFileSync(file, "utf8")) as Partial<Addresses>;
  const free = ADDRESS_SETTINGS.filter((key) => isDerived(settings[key]) && chosen[key] !== undefined);
  return { ...settings, ...Object.fromEntries(free.map((key) => [key, chosen[key]])) };
}

/**
 * Database names of the other stacks with a settings file in the checkout. A file or a name that is not usable is left out: that
 * stack's own commands say so. Found without a YAML parser, whose loading every preview would pay for.
 */
export function otherDatabaseNames(stack: string): { stack: string; databaseName: string }[] {
  return readdirSync(PACKAGE_ROOT).flatMap((file) => {
    const other = /^Pulumi\.([^.]+)\.yaml$/.exec(file)?.[1];
    if (other === undefined || other === stack) return [];
    const lines = readFileSync(path.join(PACKAGE_ROOT, file), "utf8").replaceAll(/^\s*#.*$/gm, "");
    const value = DATABASE_NAME.exec(lines)?.[1]?.trim() ?? STANDARD_DATABASE_NAME;
    return /^[a-z_][a-z0-9_]*$/.test(value) ? [{ stack: other, databaseName: value }] : [];
  });
}

const DATABASE_NAME = new RegExp(`${PROJECT}:databaseName["']?\\s*:\\s*["']?([^"'},#\\n]*)`);
