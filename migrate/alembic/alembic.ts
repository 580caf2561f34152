import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf, type Problem, StateError } from "../../base/errors.ts";
import { countOf } from "../chain/files.ts";
import { readAssignments, UNREADABLE } from "./python-literals.ts";

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
  /** What `down_revision` has to be in one chain; null for the first revision. */
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
// alembic itself takes files with these names for revisions.
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
      const reason = revision === undefined ? "assigns no revision" : "its revision is no plain text";
      unreadable.push({ file, reason });
      return [];
    }
    const names = (name: string): string[] => {
      const value = values.get(name) ?? [];
      if (value !== UNREADABLE) return [value].flat();
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

function listFiles(folder: string): { file: string; path: string }[] {
  try {
    // The folder of alembic's own layout has the revisions in versions/.
    const versions = join(folder, "versions");
    const place = statSync(versions, { throwIfNoEntry: false })?.isDirectory() ? versions : folder;
    const files = readdirSync(place).filter((file) => REVISION_FILE.test(file));
    return files.sort().map((file) => ({ file, path: join(place, file) }));
  } catch (cause) {
    const problems = [{ subject: folder, problem: messageOf(cause) }];
    throw new StateError("The folder of alembic revisions can't be read:", problems, { cause });
  }
}

/** By revision: the revisions that have to come before it, as far as there are files of them. */
type Parents = ReadonlyMap<string, ReadonlySet<string>>;

function examine(all: readonly AlembicRevision[]): Omit<AlembicReport, "unreadable"> {
  const byId = Map.groupBy(all, ({ revision }) => revision);
  // Of several files with one id the first counts.
  const distinct = [...byId.values()].flatMap((files) => files.slice(0, 1));
  const labels = new Map(all.flatMap((each) => each.branchLabels.map((label) => [label, each.revision] as const)));
  const references = distinct.flatMap(({ file, revision, downRevisions, dependsOn }) =>
    [...downRevisions, ...dependsOn].map((name) => {
      return { file, revision, name, parent: byId.has(name) ? name : labels.get(name) };
    }),
  );
  const parents = new Map(distinct.map(({ revision }) => [revision, new Set<string>()]));
  for (const { revision, parent } of references) if (parent !== undefined) parents.get(revision)?.add(parent);
  const missing = references.filter(({ parent }) => parent === undefined);
  const order = propose(distinct, parents, new Set(missing.map(({ revision }) => revision)));
  const placed = new Set(order.map(({ revision }) => revision));
  const ids = [...byId.keys()];
  const downRevisions = new Set(distinct.flatMap((each) => each.downRevisions));
  return {
    revisions: all,
    missing: [...Map.groupBy(missing, ({ name }) => name)].map(([revision, by]) => {
      return { revision, referencedBy: by.map(({ file }) => file) };
    }),
    heads: ids.filter((id) => !downRevisions.has(id)).sort(),
    roots: distinct.flatMap((each) => (each.downRevisions.length === 0 ? [each.revision] : [])).sort(),
    cycles: findCycles(
      ids.filter((id) => !placed.has(id)),
      parents,
    ),
    duplicates: [...byId]
      .filter(([, each]) => each.length > 1)
      .map(([revision, each]) => ({ revision, files: each.map(({ file }) => file) })),
    order,
  };
}

/**
 * A chain of all revisions that are in no cycle, parents first.
 *
 * A child of the last revision comes next, so that few files have to change. If there is none, the first file comes
 * next. Revisions that refer to a missing one come last, because the parent of the missing one must stand before them.
 */
function propose(
  revisions: readonly AlembicRevision[],
  parents: Parents,
  incomplete: ReadonlySet<string>,
): ProposedLink[] {
  const order: ProposedLink[] = [];
  const left = new Set(revisions);
  const placed = new Set<string>();
  const parentsOf = ({ revision }: AlembicRevision) => [...(parents.get(revision) ?? [])];
  for (;;) {
    const last = order.at(-1)?.revision ?? null;
    const ready = [...left].filter((each) => parentsOf(each).every((parent) => placed.has(parent)));
    const children = ready.filter((each) => parentsOf(each).some((parent) => parent === last));
    const candidates = [...children, ...ready];
    const next = candidates.find(({ revision }) => !incomplete.has(revision)) ?? candidates[0];
    // All that is left are cycles and their descendants.
    if (!next) return order;
    left.delete(next);
    placed.add(next.revision);
    const { revision, file, downRevisions } = next;
    const [only = null, ...more] = downRevisions;
    order.push({ revision, file, downRevision: last, changed: more.length > 0 || only !== last });
  }
}

/** The cycles. It follows the first parent that is left, from every revision, until it meets a revision again. */
function findCycles(left: readonly string[], parents: Parents): string[][] {
  const cycles = new Map<string, string[]>();
  for (const start of left) {
    const path: string[] = [];
    let at: string | undefined = start;
    while (at !== undefined && !path.includes(at)) {
      path.push(at);
      at = [...(parents.get(at) ?? [])].find((parent) => left.includes(parent));
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

/** What is wrong with the revisions, for people. */
export function alembicProblems(report: AlembicReport): Problem[] {
  const { missing, heads, roots, cycles, duplicates, unreadable } = report;
  return [
    ...unreadable.map(({ file, reason }) => problem(file, `${reason}.`, "Write it as a constant.")),
    ...duplicates.map(({ revision, files }) =>
      problem(revision, `is the id of ${files.length} files: ${files.join(", ")}.`, "Give all but one a new id."),
    ),
    ...missing.map(({ revision, referencedBy }) =>
      problem(
        revision,
        `is referenced by ${referencedBy.join(", ")}, but no file has it.`,
        "Restore the file, or name another down_revision there.",
      ),
    ),
    ...cycles.map((cycle) =>
      problem(
        "cycle",
        `${[...cycle, cycle[0]].join(" -> ")}: each needs the next one first.`,
        "Cut it at one of them.",
      ),
    ),
    ...several("head", heads),
    ...several("root", roots),
  ];
}

const problem = (subject: string, text: string, remedy: string): Problem => ({ subject, problem: text, remedy });

function several(what: string, ids: readonly string[]): Problem[] {
  if (ids.length < 2) return [];
  const text = `${ids.join(", ")}; one chain has one.`;
  return [problem(`${ids.length} ${what}s`, text, "The proposed order would make one chain.")];
}
