import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { folders } from "../toolchain/paths.ts";
import { ADDRESS_SETTINGS, isDerived, type Addresses } from "./config.ts";

/** What belongs to a stack on this machine, outside the checkout: found again from any clone of it. */
export function stackFolder(stack: string): string {
  return path.join(folders().data, "stacks", stack);
}

/** Certificates and keys of the client roles. */
export function clientCertificateFolder(stack: string): string {
  return path.join(stackFolder(stack), "certs");
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
