import { dirname } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { privateFolder } from "./paths.ts";

/**
 * Writes a file in one step, and makes its folder where there is none. Whoever reads the file meanwhile, and after a crash,
 * gets the old text or the new one.
 *
 * @param mode permissions of the file. @default for this user only
 */
export function replaceFile(file: string, text: string, mode = 0o600): void {
  privateFolder(dirname(file));
  writeFileAtomic.sync(file, text, { mode });
}
