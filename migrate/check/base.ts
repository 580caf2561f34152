import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { hasCode, ToolError, UsageError } from "../../base/errors.ts";
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
 * The branch's files may be applied somewhere: their SQL may not change, they may not be renamed or deleted, and no new
 * file may come before them.
 *
 * @param base a git revision; if not given `origin/main`, else `main` if another branch is checked out. Nothing is
 * compared if neither exists.
 * @throws {UsageError} if `base` does not exist.
 * @throws {ToolError} if git can't read the repository.
 */
export function compareWithBase(folder: string, base?: string): BaseComparison {
  const tip = findBase(folder, base);
  if (!tip) return { base: undefined, findings: [], released: new Set() };
  const tipFiles = listTree(folder, tip.commit);
  // This branch must have the files that the base had when the branch was made, and no later ones.
  const fork = git(folder, "merge-base", "HEAD", tip.commit) ?? tip.commit;
  const findings: Finding[] = [];
  const report = (file: string, rule: string, message: string, remedy: string) =>
    findings.push({ file, line: 1, column: 1, rule, message, remedy });

  const ours = readdirSync(folder).filter(isUp);
  for (const [file, blob] of listTree(folder, fork)) {
    if (!isUp(file)) continue;
    if (!ours.includes(file)) {
      const remedy = `Restore it: git checkout ${tip.name} -- ${file}`;
      report(file, "file-removed", `is in ${tip.name}, but not here.`, remedy);
      continue;
    }
    const content = readFileSync(join(folder, file));
    if (blobId(content) === blob) continue;
    const before = git(folder, "cat-file", "blob", blob) ?? "";
    if (semanticChecksum(before) === semanticChecksum(content.toString())) continue;
    report(
      file,
      "file-edited",
      `its SQL is not that of ${tip.name}, where it may be applied already.`,
      "Restore it and put the change into a new migration; comments and white space may change.",
    );
  }
  const last = Math.max(0, ...[...tipFiles.keys()].map(numberOf));
  for (const file of ours.filter((each) => !tipFiles.has(each) && numberOf(each) <= last)) {
    const message = `is new, but ${tip.name} already has migrations up to ${formatNumber(last)}.`;
    report(file, "file-inserted", message, `Give it a number from ${formatNumber(last + 1)} on.`);
  }
  return { base: tip.name, findings, released: new Set(tipFiles.keys()) };
}

function findBase(folder: string, base: string | undefined): { name: string; commit: string } | undefined {
  // main itself is compared with origin/main only, because commits that were not pushed may still change.
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

// git's English messages outside a repository and on a branch without a commit.
const NOTHING_THERE = /not a git repository|Not a valid object name HEAD/;

/**
 * Runs git in a folder and returns what it printed.
 *
 * Undefined if git is not installed, if the folder is in no repository, or if the thing asked for does not exist.
 *
 * @throws {ToolError} if git fails for another reason, such as a repository that it refuses to read.
 */
function git(folder: string, ...args: string[]): string | undefined {
  const { error, status, stdout, stderr } = spawnSync("git", args, {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
    maxBuffer: 64 * 2 ** 20,
  });
  if (status === 0 && !error) return args[0] === "cat-file" ? stdout : stdout.trim();
  // git exits with 1 for "no such revision".
  const notInstalled = hasCode(error, "ENOENT");
  if (status === 1 || notInstalled || NOTHING_THERE.test(stderr)) return undefined;
  throw new ToolError(
    "git can't be asked about the migrations of the base branch:",
    [{ subject: folder, problem: error?.message ?? stderr.trim() }],
    { cause: error },
  );
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

/** The id that git gives a content. With ids a thousand files are compared without a thousand processes of git. */
function blobId(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

function isUp(file: string): boolean {
  return file.endsWith(".up.sql");
}

function numberOf(file: string): number {
  return Number.parseInt(file, 10) || 0;
}
