import { lstatSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Writable } from "node:stream";
import { hasCode, type Problem, StateError } from "../base/errors.ts";
import type { Report } from "../base/progress.ts";
import { dumpInto, dumpToFile, type DumpSource, type Dumped } from "../database/backup/dump.ts";
import { engineNames } from "../infra/settings/names.ts";
import { engineClient } from "../toolchain/engine/client.ts";
import { requireEngine } from "./engine.ts";
import { requireStack } from "./known-stacks.ts";
import { readStackConfig } from "./settings-file.ts";

export interface StackDump extends Pick<DumpSource, "format" | "args" | "signal"> {
  readonly stack: string;
  /** A file, or what takes the bytes. */
  readonly to: string | Writable;
  /** Whether a file of that name may be replaced. */
  readonly overwrite: boolean;
}

/**
 * Dumps the database of a stack. Nothing of it is written, so that it works for frozen databases too.
 *
 * @returns what was dumped, with the database's name
 * @throws UsageError, StateError, ToolError where there is no such stack, it does not run, the file cannot be made, or
 *   pg_dump fails; no part of the file is left then
 */
export async function dumpStack(
  { stack, to, overwrite, ...how }: StackDump,
  report: Report,
): Promise<Dumped & { readonly database: string }> {
  requireStack(stack);
  if (typeof to === "string") refuseFile(to, overwrite);
  const { databaseName: database } = readStackConfig(stack);
  const docker = engineClient(await requireEngine(stack));
  const source = { ...how, container: engineNames(stack).postgres, database };
  const dumped =
    typeof to === "string" ? await dumpToFile(docker, source, to, report) : await dumpInto(docker, source, to, report);
  return { ...dumped, database };
}

function refuseFile(file: string, overwrite: boolean): void {
  const refuse = (problem: Omit<Problem, "subject">) => {
    throw new StateError("Nothing has been dumped:", [{ subject: file || "--output", ...problem }]);
  };
  if (file === "") refuse({ problem: "is empty", remedy: "Name a file, or leave it out to write to stdout." });
  if (!isFolder(dirname(file))) refuse({ problem: "its folder does not exist" });
  const there = lstatSync(file, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isFile()) refuse({ problem: "is there, and is no file", remedy: "Name another one, or write to stdout." });
  if (!overwrite) refuse({ problem: "is there", remedy: "Name another file, or give --overwrite." });
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}
