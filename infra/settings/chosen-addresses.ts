import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { replaceFile } from "../../base/text-file.ts";
import { ADDRESS_SETTINGS, isDerived, type Addresses } from "./addresses.ts";
import { stackFolder } from "./places.ts";

/** Ports and subnet the stack has on this machine where the ones derived from its name were taken. */
function addressFile(stack: string): string {
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

/** Keeps the addresses that were chosen for a stack on this machine. */
export function rememberAddresses(stack: string, chosen: Partial<Addresses>): void {
  replaceFile(addressFile(stack), `${JSON.stringify(chosen)}\n`);
}

/** For a stack that is gone, or is about to be made. */
export function forgetAddresses(stack: string): void {
  rmSync(addressFile(stack), { force: true });
}
