import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf, type Problem, StateError } from "../../base/errors.ts";
import { type PythonValue, readAssignments, UNREADABLE } from "./python-literals.ts";

/** A revision of the old tool. */
interface AlembicRevision {
  readonly file: string;
  readonly revision: string;
  /** Empty for a root; several for a merge. */
  readonly downRevisions: readonly string[];
  readonly dependsOn: readonly string[];
  readonly branchLabels: readonly string[];
}

/** A place in the proposed chain. */
interface ProposedLink {
  readonly revision: string;
  readonly file: string;
  /** What `down_revision` would have to be. */
  readonly downRevision: string | null;
  /** Whether that differs from what the file says. */
  readonly changed: boolean;
}

/** What is wrong with a folder of revisions, and how one chain could be made of it. */
export interface AlembicReport {
  readonly revisions: readonly AlembicRevision[];
  readonly missing: readonly { readonly revision: string; readonly referencedBy: readonly string[] }[];
  readonly heads: readonly string[];
  readonly roots: readonly string[];
  readonly cycles: readonly (readonly string[])[];
  readonly duplicates: readonly { readonly revision: string; readonly files: readonly string[] }[];
  /** Files without a readable revision. */
  readonly unreadable: readonly { readonly file: string; readonly reason: string }[];
  /** All revisions that are in no cycle, parents first. */
  readonly order: readonly ProposedLink[];
}

const NAMES = ["revision", "down_revision", "depends_on", "branch_labels"];
// The names of files that alembic itself takes for revisions.
const REVISION_FILE = /^(?!\.#|__init__).*\.py$/;

/**
 * Reads a folder of alembic revision files, without running them.
 *
 * @throws {StateError} if the folder can't be read.
 */
export function readAlembicFolder(folder: string): AlembicReport {
  const unreadable: { file: string; reason: string }[] = [];
  const revisions = listFiles(folder).flatMap(({ file, path }): AlembicRevision[] => {
    const values = readAssignments(readFileSync(path, "utf8"), NAMES);
    const revision = values.get("revision");
    if (typeof revision !== "string") {
      unreadable.push({
        file,
        reason: revision === undefined ? "assigns no revision" : "its revision is no plain text",
      });
      return [];
    }
    const names = (name: string): string[] => {
      const value = values.get(name) ?? null;
      if (value !== UNREADABLE) return toList(value);
      unreadable.push({ file, reason: `its ${name} is no plain text, tuple or None` });
      return [];
    };
    return [
      {
        file,
        revision,
        downRevisions: names("down_revision"),
        dependsOn: names("depends_on"),
        branchLabels: names("branch_labels"),
      },
    ];
  });
  return { ...examine(revisions), unreadable };
}

function toList(value: PythonValue): string[] {
  return value === null ? [] : typeof value === "string" ? [value] : [...value];
}

function listFiles(folder: string): { file: string; path: string }[] {
  try {
    // The folder of alembic's own layout has the revisions in versions/.
    const versions = join(folder, "versions");
    const place = statSync(versions, { throwIfNoEntry: false })?.isDirectory() ? versions : folder;
    const files = readdirSync(place).filter((file) => REVISION_FILE.test(file));
    return files.sort().map((file) => ({ file, path: join(place, file) }));
  } catch (cause) {
    throw new StateError(
      "The folder of alembic revisions can't be read:",
      [{ subject: folder, problem: messageOf(cause) }],
      {
        cause,
      },
    );
  }
}

function examine(all: readonly AlembicRevision[]): Omit<AlembicReport, "unreadable"> {
  const byId = new Map<string, AlembicRevision>();
  const files = new Map<string, string[]>();
  for (const each of all) {
    if (!byId.has(each.revision)) byId.set(each.revision, each);
    files.set(each.revision, [...(files.get(each.revision) ?? []), each.file]);
  }
  const labels = new Map(all.flatMap((each) => each.branchLabels.map((label) => [label, each.revision] as const)));
  const resolve = (name: string) => (byId.has(name) ? name : labels.get(name));
  const missing = new Map<string, string[]>();
  const parents = new Map<string, Set<string>>();
  const referenced = new Set<string>();
  for (const each of byId.values()) {
    const known = new Set<string>();
    for (const name of [...each.downRevisions, ...each.dependsOn]) {
      const parent = resolve(name);
      if (parent === undefined) missing.set(name, [...(missing.get(name) ?? []), each.file]);
      else known.add(parent);
    }
    parents.set(each.revision, known);
    for (const name of each.downRevisions) referenced.add(name);
  }
  const incomplete = new Set(
    [...byId.values()]
      .filter(({ file }) => [...missing.values()].flat().includes(file))
      .map(({ revision }) => revision),
  );
  const order = propose(byId, parents, incomplete);
  const placed = new Set(order.map(({ revision }) => revision));
  const ids = [...byId.keys()];
  return {
    revisions: all,
    missing: [...missing].map(([revision, referencedBy]) => ({ revision, referencedBy })),
    heads: ids.filter((id) => !referenced.has(id)).sort(),
    roots: ids.filter((id) => byId.get(id)?.downRevisions.length === 0).sort(),
    cycles: findCycles(
      ids.filter((id) => !placed.has(id)),
      parents,
    ),
    duplicates: [...files]
      .filter(([, names]) => names.length > 1)
      .map(([revision, names]) => ({ revision, files: names })),
    order,
  };
}

/**
 * A chain of all revisions that are in no cycle, parents first.
 *
 * The next revision is a child of the last one if there is one, so that few files have to change; else the first in the
 * order of the files. Revisions that refer to a missing one come last: the missing revision had a parent, and that must
 * stand before them.
 */
function propose(
  byId: ReadonlyMap<string, AlembicRevision>,
  parents: ReadonlyMap<string, ReadonlySet<string>>,
  incomplete: ReadonlySet<string>,
): ProposedLink[] {
  const children = new Map<string, string[]>();
  const waiting = new Map<string, number>();
  for (const [id, known] of parents) {
    waiting.set(id, known.size);
    for (const parent of known) children.set(parent, [...(children.get(parent) ?? []), id]);
  }
  const order: ProposedLink[] = [];
  let last: AlembicRevision | undefined;
  while (waiting.size > 0) {
    const isReady = (id: string) => waiting.get(id) === 0;
    const isReadyAndComplete = (id: string) => isReady(id) && !incomplete.has(id);
    const candidates = [...(children.get(last?.revision ?? "") ?? []), ...waiting.keys()];
    const next = candidates.find(isReadyAndComplete) ?? candidates.find(isReady);
    const revision = next === undefined ? undefined : byId.get(next);
    // All that is left are cycles and their descendants.
    if (next === undefined || !revision) break;
    waiting.delete(next);
    for (const child of children.get(next) ?? []) waiting.set(child, (waiting.get(child) ?? 1) - 1);
    const downRevision = last?.revision ?? null;
    const [only, ...more] = revision.downRevisions;
    order.push({
      revision: next,
      file: revision.file,
      downRevision,
      changed: more.length > 0 || (only ?? null) !== downRevision,
    });
    last = revision;
  }
  return order;
}

/**
 * The cycles. From every revision it goes up, through the first parent that is left, until it meets a revision again.
 */
function findCycles(left: readonly string[], parents: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const open = new Set(left);
  const cycles = new Map<string, string[]>();
  for (const start of left) {
    const path: string[] = [];
    let at: string | undefined = start;
    while (at !== undefined && !path.includes(at)) {
      path.push(at);
      at = [...(parents.get(at) ?? [])].find((parent) => open.has(parent));
    }
    if (at === undefined) continue;
    const cycle = path.slice(path.indexOf(at));
    const key = cycle.toSorted().join(" ");
    if (!cycles.has(key)) cycles.set(key, cycle);
  }
  return [...cycles.values()];
}

/** What was found, in one line: `11 revisions, 1 missing (c3d7a3a4d59c), 4 heads, 1 root`. */
export function alembicSummary(report: AlembicReport): string {
  const { revisions, missing, heads, roots, cycles, duplicates, unreadable } = report;
  const names = missing.map(({ revision }) => revision).join(", ");
  return [
    countOf(revisions.length, "revision"),
    `${missing.length} missing${names ? ` (${names})` : ""}`,
    countOf(heads.length, "head"),
    countOf(roots.length, "root"),
    ...(cycles.length > 0 ? [countOf(cycles.length, "cycle")] : []),
    ...(duplicates.length > 0 ? [countOf(duplicates.length, "duplicate id")] : []),
    ...(unreadable.length > 0 ? [`${unreadable.length} unreadable`] : []),
  ].join(", ");
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** What is wrong with the revisions, for people. */
export function alembicProblems(report: AlembicReport): Problem[] {
  const { missing, heads, roots, cycles, duplicates, unreadable } = report;
  return [
    ...unreadable.map(({ file, reason }) => ({
      subject: file,
      problem: `${reason}.`,
      remedy: "Write it as a constant.",
    })),
    ...duplicates.map(({ revision, files }) => ({
      subject: revision,
      problem: `is the id of ${files.length} files: ${files.join(", ")}.`,
      remedy: "Give all but one a new id.",
    })),
    ...missing.map(({ revision, referencedBy }) => ({
      subject: revision,
      problem: `is referenced by ${referencedBy.join(", ")}, but no file has it.`,
      remedy: "Restore the file, or name another down_revision there.",
    })),
    ...cycles.map((cycle) => ({
      subject: "cycle",
      problem: `${[...cycle, cycle[0]].join(" -> ")}: each needs the next one first.`,
      remedy: "Cut it at one of them.",
    })),
    ...several("head", heads),
    ...several("root", roots),
  ];
}

function several(what: string, ids: readonly string[]): Problem[] {
  if (ids.length < 2) return [];
  return [
    {
      subject: `${ids.length} ${what}s`,
      problem: `${ids.join(", ")}; one chain has one.`,
      remedy: "The proposed order would make one chain.",
    },
  ];
}
