import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, type Problem, StateError } from "../../base/errors.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { semanticChecksum } from "./checksum.ts";
import { HEADER_KEYS, parseHeader } from "./header.ts";
import { parsePhase, type Phase } from "./phases.ts";

// Every preview loads this module. Import nothing heavy here: no SQL parser, no node-pg-migrate, no zod.

/** The package's own migrations. */
export const MIGRATIONS_FOLDER = join(PACKAGE_ROOT, "migrations");

/** One migration: an up file, and the down file that undoes it unless the up file's header says why there is none. */
export interface Migration {
  /** `0001_create_users`: the files' name without `.up.sql`, and the name in the table of applied migrations. */
  readonly name: string;
  /** Position in the chain, from 1. */
  readonly number: number;
  readonly phase: Phase;
  readonly upPath: string;
  /** Undefined if the migration can't be undone. */
  readonly downPath: string | undefined;
  /** The up file's header, as {@link parseHeader} reads it. */
  readonly header: Readonly<Record<string, string>>;
  /** The down file's header, empty if there is no down file. Its key `Data loss` says what a rollback loses. */
  readonly downHeader: Readonly<Record<string, string>>;
  /** The up file's text. */
  readonly up: string;
  /** The down file's text; left out if there is no down file. */
  readonly down?: string;
  /** Semantic checksum of the up file: comments and white space don't count. */
  readonly checksum: string;
}

const FILE_NAME = /^(\d{4})_([a-z][a-z0-9]*(?:_[a-z0-9]+)+)\.(up|down)\.sql$/;

/** A migration's number as it is written in file names. */
export function formatNumber(number: number): string {
  return String(number).padStart(4, "0");
}

/** Whether a name can be a migration's, without its number: `create_users`. */
export function isMigrationName(name: string): boolean {
  return FILE_NAME.test(`0001_${name}.up.sql`);
}

/** Notes what is wrong with a file. */
type Refuse = (subject: string, problem: string, remedy: string) => void;

/**
 * Reads a folder of migrations, in their order.
 *
 * @throws {StateError} if the folder can't be read, or with every problem of the files: names, pairs, numbers, phases.
 */
export function readMigrations(folder: string): Migration[] {
  const problems: Problem[] = [];
  const refuse: Refuse = (subject, problem, remedy) => void problems.push({ subject, problem, remedy });
  const pairs = pairFiles(listFolder(folder), refuse);
  checkNumbers(pairs, refuse);
  const migrations = pairs.flatMap((pair) => readPair(folder, pair, refuse));
  checkPhaseOrder(migrations, refuse);
  if (problems.length > 0) {
    const count = countOf(problems.length, "problem");
    throw new StateError(`The migrations in ${folder} can't be used (${count}):`, problems);
  }
  return migrations;
}

interface Pair {
  readonly name: string;
  readonly number: number;
  up: boolean;
  down: boolean;
}

/** A count with its noun: `1 problem`, `2 problems`. */
export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function listFolder(folder: string): string[] {
  try {
    // Desktops and editors make files whose names begin with a dot. node-pg-migrate leaves them out too.
    return readdirSync(folder).filter((file) => !file.startsWith("."));
  } catch (cause) {
    const problems = [{ subject: folder, problem: messageOf(cause) }];
    throw new StateError("The folder of migrations can't be read:", problems, { cause });
  }
}

function pairFiles(files: readonly string[], refuse: Refuse): Pair[] {
  const pairs = new Map<string, Pair>();
  // Sorted by code unit and not by locale, so that the order is the same on every machine.
  for (const file of [...files].sort()) {
    const [, digits, title, direction] = FILE_NAME.exec(file) ?? [];
    if (direction === undefined) {
      if (file.endsWith(".sql")) {
        refuse(
          file,
          "the name is not of the form NNNN_verb_object.up.sql or NNNN_verb_object.down.sql.",
          "Four digits, then words of lower-case letters and digits joined by underscores.",
        );
      } else refuse(file, "unexpected; this folder holds migration files only.", "Move it elsewhere.");
      continue;
    }
    const name = `${digits}_${title}`;
    const pair = pairs.get(name) ?? { name, number: Number(digits), up: false, down: false };
    pair[direction === "up" ? "up" : "down"] = true;
    pairs.set(name, pair);
  }
  return [...pairs.values()];
}

function checkNumbers(pairs: readonly Pair[], refuse: Refuse): void {
  let expected = 1;
  for (const [index, { name, number }] of pairs.entries()) {
    const previous = pairs[index - 1];
    if (previous?.number === number) {
      const problem = `has the number of ${previous.name}; which of them runs first would be chance.`;
      refuse(name, problem, "Give the newer one the next free number.");
      continue;
    }
    if (number === 0) refuse(name, "numbers begin with 0001.", "Give it the next free number.");
    else if (number !== expected) {
      const last = number - 1;
      const missing = last > expected ? `${formatNumber(expected)} to ${formatNumber(last)}` : formatNumber(expected);
      refuse(
        name,
        `${missing} missing before it; a migration was deleted, or numbered past the next one.`,
        "Restore the missing files, or give this one the next free number if it was never applied.",
      );
    }
    expected = number + 1;
  }
}

function readPair(folder: string, pair: Pair, refuse: Refuse): Migration[] {
  const { name, number } = pair;
  const [upFile, downFile] = [`${name}.up.sql`, `${name}.down.sql`];
  if (!pair.up) {
    refuse(downFile, `${upFile} is missing.`, "Add it, or delete this file.");
    return [];
  }
  const upPath = join(folder, upFile);
  const downPath = pair.down ? join(folder, downFile) : undefined;
  const up = readFileSync(upPath, "utf8");
  const downPart = downPath === undefined ? {} : { down: readFileSync(downPath, "utf8") };
  const header = parseHeader(up);
  const irreversible = header[HEADER_KEYS.irreversible] !== undefined;
  if (!pair.down && !irreversible) {
    const problem = `${downFile} is missing, and no header says why it can't be undone.`;
    refuse(upFile, problem, 'Add it, or the header line "-- Irreversible: reason".');
  }
  if (pair.down && irreversible) {
    refuse(downFile, `exists although ${upFile} says that it is irreversible.`, "Delete one of the two.");
  }
  const written = header[HEADER_KEYS.phase];
  const phase = parsePhase(written);
  if (phase === undefined) {
    const problem =
      written === undefined
        ? "has no header line that names its phase."
        : `its header names phase ${JSON.stringify(written)}, which is none.`;
    refuse(upFile, problem, 'Add "-- Phase: N" at the top, N from 1 to 4.');
    return [];
  }
  const downHeader = parseHeader(downPart.down ?? "");
  const checksum = semanticChecksum(up);
  return [{ name, number, phase, upPath, downPath, header, downHeader, up, ...downPart, checksum }];
}

function checkPhaseOrder(migrations: readonly Migration[], refuse: Refuse): void {
  for (const [index, { name, phase }] of migrations.entries()) {
    const previous = migrations[index - 1];
    if (!previous || previous.phase <= phase) continue;
    refuse(
      `${name}.up.sql`,
      `is of phase ${phase}, but ${previous.name} before it is of phase ${previous.phase}; a stack that stops at phase ${phase} could not run it.`,
      `Move it into phase ${previous.phase} or later.`,
    );
  }
}
