import { join } from "node:path";
import { readJsonIfWhole, replaceFile } from "../base/text-file.ts";
import { folders } from "../base/paths.ts";

/** What set-up remembers between commands, one small file each in the state folder. */
export type RecordName = "engine" | "toolchain" | "pulumi-on-path";

function fileOf(name: RecordName): string {
  return join(folders().state, `${name}.json`);
}

/** The record, or undefined where there is none or it was cut off: set-up makes every record again. */
export function readRecord<T>(name: RecordName): T | undefined {
  return readJsonIfWhole<T>(fileOf(name));
}

export function writeRecord(name: RecordName, value: object): void {
  replaceFile(fileOf(name), `${JSON.stringify(value, null, 2)}\n`);
}
