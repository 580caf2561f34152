import { readFileSync } from "node:fs";
import { join } from "node:path";
import { replaceFile } from "../base/atomic-file.ts";
import { folders } from "../base/paths.ts";

/** What set-up remembers between commands, one small file each in the state folder. */
export type RecordName = "engine" | "toolchain" | "pulumi-on-path";

function fileOf(name: RecordName): string {
  return join(folders().state, `${name}.json`);
}

/** The record, or undefined if there is none or it can't be read: every record can be made again. */
export function readRecord<T>(name: RecordName): T | undefined {
  try {
    return JSON.parse(readFileSync(fileOf(name), "utf8")) as T;
  } catch {
    return undefined;
  }
}

export function writeRecord(name: RecordName, value: object): void {
  replaceFile(fileOf(name), `${JSON.stringify(value, null, 2)}\n`);
}
