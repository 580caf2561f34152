import path from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take more than a minute, the longest first; and of those on test databases, more than half of one. */
const LONGEST = [
  "rotation",
  "commands",
  "production",
  "owners",
  "secrets-logged",
  "healing",
  "testdb-pool",
  "faults",
  "changed-roles",
  "extensions",
  "testdb-container",
  "schema-erasure-others",
  "schema-roundtrip",
];

/**
 * Starts the files that take longest first, so that no core is idle at the end of a group. vitest itself goes by
 * project and then, in a fresh clone, by size. The files of the one real stack, which take turns, go beside the longest
 * of all: one worker has that, the other one comes to them one after the other, and none waits for its turn.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const group = ({ project }: TestSpecification) => project.config.sequence.groupOrder;
    const rank = ({ project, moduleId }: TestSpecification) => {
      if (project.name === "integration") return 0.5; // behind the first
      const at = LONGEST.indexOf(path.basename(moduleId, ".test.ts"));
      return at < 0 ? LONGEST.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => group(a) - group(b) || rank(a) - rank(b));
  }
}
