import path from "node:path";
import { folders } from "../toolchain/paths.ts";

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
