import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { hasCode } from "./errors.ts";
import { privateFolder } from "./paths.ts";

/**
 * Writes a file in one step, and makes its folder where there is none. Whoever reads the file meanwhile, and after a
 * crash, gets the old text or the new one.
 *
 * @param mode permissions of the file. @default for this user only
 */
export function replaceFile(file: string, text: string, mode = 0o600): void {
  privateFolder(dirname(file));
  writeFileAtomic.sync(file, text, { mode });
}

/** The end of a program's output or log: what tells why it failed. */
export function lastLinesOf(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}

/** The text of a file, or undefined where there is no such file. */
export function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

/**
 * What a file of JSON says. Undefined where there is no such file, and where it was cut off because its writer was
 * killed.
 */
export function readJsonIfWhole<T>(file: string): T | undefined {
  const text = readIfThere(file);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined; // JSON.parse fails only where the text is not JSON
  }
}
