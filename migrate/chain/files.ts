import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, type Problem, StateError } from "../../base/errors.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { semanticChecksum } from "./checksum.ts";
import { HEADER_KEYS, parseHeader } from "./header.ts";
import { parsePhase, type Phase } from "./phases.ts";

// Every preview loads this module and what it imports: nothing heavy here (no SQL parser, no node-pg-migrate, no zod).

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
  /** The down file's text. */
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

/**
 * Reads a folder of migrations, in their order.
 *
 * @throws {StateError} if the folder can't be read; else listing everything that is wrong with the files: names, pairs,
 * numbers, phases.
 */
export function readMigrations(folder: string): Migration[] {
  const problems: Problem[] = [];
  const pairs = pairFiles(listFolder(folder), problems);
  checkNumbers(pairs, problems);
  const migrations = pairs.flatMap((pair) => readPair(folder, pair, problems));
  checkPhaseOrder(migrations, problems);
  if (problems.length > 0) {
    throw new StateError(
      `The migrations in ${folder} can't be used (${countOf(problems.length, "problem")}):`,
      problems,
    );
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
    // Files whose names begin with a dot are a desktop's or an editor's. node-pg-migrate passes over them too.
    return readdirSync(folder).filter((file) => !file.startsWith("."));
  } catch (cause) {
    throw new StateError(`The folder of migrations can't be read:`, [{ subject: folder, problem: messageOf(cause) }], {
      cause,
    });
  }
}

function pairFiles(files: readonly string[], problems: Problem[]): Pair[] {
  const pairs = new Map<string, Pair>();
  // By code unit, not by locale: the order must be the same on every machine.
  for (const file of [...files].sort()) {
    const [, digits, title, direction] = FILE_NAME.exec(file) ?? [];
    if (digits === undefined || title === undefined) {
      problems.push(
        file.endsWith(".sql")
          ? {
              subject: file,
              problem: "the name is not of the form NNNN_verb_object.up.sql or NNNN_verb_object.down.sql.",
              remedy: "Four digits, then words of lower-case letters and digits joined by underscores.",
            }
          : {
              subject: file,
              problem: "unexpected; this folder holds migration files only.",
              remedy: "Move it elsewhere.",
            },
      );
      continue;
    }
    const name = `${digits}_${title}`;
    const pair = pairs.get(name) ?? { name, number: Number(digits), up: false, down: false };
    pair[direction === "up" ? "up" : "down"] = true;
    pairs.set(name, pair);
  }
  return [...pairs.values()];
}

function checkNumbers(pairs: readonly Pair[], problems: Problem[]): void {
  let expected = 1;
  for (const [index, { name, number }] of pairs.entries()) {
    const previous = pairs[index - 1];
    if (previous?.number === number) {
      problems.push({
        subject: name,
        problem: `has the number of ${previous.name}; which of them runs first would be chance.`,
        remedy: `Give the newer one the next free number.`,
      });
      continue;
    }
    if (number !== expected) {
      const last = number - 1;
      const missing = last > expected ? `${formatNumber(expected)} to ${formatNumber(last)}` : formatNumber(expected);
      problems.push(
        number === 0
          ? { subject: name, problem: "numbers begin with 0001.", remedy: "Give it the next free number." }
          : {
              subject: name,
              problem: `${missing} missing before it; a migration was deleted, or numbered past the next one.`,
              remedy: "Restore the missing files, or give this one the next free number if it was never applied.",
            },
      );
    }
    expected = number + 1;
  }
}

function readPair(folder: string, pair: Pair, problems: Problem[]): Migration[] {
  const { name, number } = pair;
  const upPath = join(folder, `${name}.up.sql`);
  const downPath = join(folder, `${name}.down.sql`);
  if (!pair.up) {
    problems.push({
      subject: `${name}.down.sql`,
      problem: `${name}.up.sql is missing.`,
      remedy: "Add it, or delete this file.",
    });
    return [];
  }
  const up = readFileSync(upPath, "utf8");
  const down = pair.down ? readFileSync(downPath, "utf8") : undefined;
  const header = parseHeader(up);
  const downHeader = down === undefined ? {} : parseHeader(down);
  const irreversible = header[HEADER_KEYS.irreversible] !== undefined;
  if (!pair.down && !irreversible) {
    problems.push({
      subject: `${name}.up.sql`,
      problem: `${name}.down.sql is missing, and no header says why it can't be undone.`,
      remedy: `Add it, or the header line "-- Irreversible: reason".`,
    });
  }
  if (pair.down && irreversible) {
    problems.push({
      subject: `${name}.down.sql`,
      problem: `exists although ${name}.up.sql says that it is irreversible.`,
      remedy: "Delete one of the two.",
    });
  }
  const phase = parsePhase(header[HEADER_KEYS.phase]);
  if (phase === undefined) {
    const written = header[HEADER_KEYS.phase];
    problems.push({
      subject: `${name}.up.sql`,
      problem:
        written === undefined
          ? "has no header line that names its phase."
          : `its header names phase ${JSON.stringify(written)}, which is none.`,
      remedy: `Add "-- Phase: N" at the top, N from 1 to 4.`,
    });
    return [];
  }
  const downPart = down === undefined ? {} : { down };
  return [
    {
      name,
      number,
      phase,
      upPath,
      downPath: pair.down ? downPath : undefined,
      header,
      downHeader,
      up,
      ...downPart,
      checksum: semanticChecksum(up),
    },
  ];
}

function checkPhaseOrder(migrations: readonly Migration[], problems: Problem[]): void {
  for (const [index, migration] of migrations.entries()) {
    const previous = migrations[index - 1];
    if (previous && previous.phase > migration.phase) {
      problems.push({
        subject: `${migration.name}.up.sql`,
        problem: `is of phase ${migration.phase}, but ${previous.name} before it is of phase ${previous.phase}; a stack that stops at phase ${migration.phase} could not run it.`,
        remedy: `Move it into phase ${previous.phase} or later.`,
      });
    }
  }
}
