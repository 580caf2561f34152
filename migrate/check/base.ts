import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { hasCode, UsageError } from "../../base/errors.ts";
import { semanticChecksum } from "../chain/checksum.ts";
import { formatNumber } from "../chain/files.ts";
import type { Finding } from "./hazards.ts";

/** How a folder's files compare with those of another branch. */
export interface BaseComparison {
  /** What it was compared with; undefined if there was nothing. */
  readonly base: string | undefined;
  readonly findings: readonly Finding[];
  /** File names that the base has. */
  readonly released: ReadonlySet<string>;
}

/**
 * Compares a folder of migrations with the branch that it will be merged into.
 *
 * What is there may be applied somewhere: it may not be changed in its SQL, renamed or deleted, and nothing may come before it.
 *
 * @param base a git revision.
 * @default - `origin/main`, else `main` where another branch is checked out; where neither exists nothing is compared.
 * @throws {UsageError} if a revision is asked for that does not exist.
 */
export function compareWithBase(folder: string, base?: string): BaseComparison {
  const tip = findBase(folder, base);
  if (!tip) return { base: undefined, findings: [], released: new Set() };
  const tipFiles = listTree(folder, tip.commit);
  // What the branch has had since we left it is not ours to have; what it had then is.
  const fork = git(folder, "merge-base", "HEAD", tip.commit) ?? tip.commit;
  const findings: Finding[] = [];
  const report = (file: string, rule: string, message: string, remedy: string) =>
    findings.push({ file, line: 1, column: 1, rule, message, remedy });

  const ours = new Map(readdirSync(folder).map((file) => [file, join(folder, file)]));
  for (const [file, blob] of listTree(folder, fork)) {
    if (!file.endsWith(".up.sql")) continue;
    const path = ours.get(file);
    if (path === undefined) {
      report(
        file,
        "file-removed",
        `is in ${tip.name}, but not here.`,
        `Restore it: git checkout ${tip.name} -- ${file}`,
      );
      continue;
    }
    const content = readFileSync(path);
    if (blobId(content) === blob) continue;
    const before = git(folder, "cat-file", "blob", blob) ?? "";
    if (semanticChecksum(before) !== semanticChecksum(content.toString())) {
      report(
        file,
        "file-edited",
        `its SQL is not that of ${tip.name}, where it may be applied already.`,
        "Restore it and put the change into a new migration; comments and white space may change.",
      );
    }
  }
  const lastNumber = Math.max(0, ...[...tipFiles.keys()].map(numberOf));
  for (const file of ours.keys()) {
    if (!file.endsWith(".up.sql") || tipFiles.has(file) || numberOf(file) > lastNumber) continue;
    report(
      file,
      "file-inserted",
      `is new, but ${tip.name} already has migrations up to ${formatNumber(lastNumber)}.`,
      `Give it a number from ${formatNumber(lastNumber + 1)} on.`,
    );
  }
  return { base: tip.name, findings, released: new Set(tipFiles.keys()) };
}

function findBase(folder: string, base: string | undefined): { name: string; commit: string } | undefined {
  // Who works on main itself merges into nothing that is here: what is committed may still be nobody else's.
  const isMain = git(folder, "symbolic-ref", "--quiet", "HEAD") === "refs/heads/main";
  const usual = isMain ? ["origin/main"] : ["origin/main", "main"];
  for (const name of base === undefined ? usual : [base]) {
    const commit = git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`);
    if (commit) return { name, commit };
  }
  if (base !== undefined) {
    throw new UsageError("The files can't be compared:", [
      {
        subject: "--base",
        problem: `git knows no revision ${JSON.stringify(base)} here.`,
        remedy: "Fetch it first, or name another.",
      },
    ]);
  }
  return undefined;
}

/** git's answer, or undefined where it has none: no git, no repository, no such thing. */
function git(folder: string, ...args: string[]): string | undefined {
  try {
    const answer = execFileSync("git", args, {
      cwd: folder,
      encoding: "utf8",
      maxBuffer: 64 * 2 ** 20,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return args[0] === "cat-file" ? answer : answer.trim();
  } catch (error) {
    // git ended with an exit code, or is not installed.
    if (typeof (error as { status?: unknown }).status === "number" || hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** The files of a folder at a revision, with git's ids of their contents. */
function listTree(folder: string, commit: string): Map<string, string> {
  const lines = (git(folder, "ls-tree", "-z", commit, "--", "./") ?? "").split("\0");
  const files = new Map<string, string>();
  for (const line of lines) {
    const [, id, file] = /^\d+ blob ([0-9a-f]+)\t(.+)$/s.exec(line) ?? [];
    if (id && file) files.set(file, id);
  }
  return files;
}

/** The id that git gives a content, to compare a thousand files without a thousand processes. */
function blobId(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

function numberOf(file: string): number {
  return Number.parseInt(file, 10) || 0;
}
