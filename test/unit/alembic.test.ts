import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  alembicProblems,
  alembicSummary,
  readAlembicFolder,
  type AlembicReport,
} from "../../migrate/alembic/alembic.ts";
import { readAssignments, UNREADABLE } from "../../migrate/alembic/python-literals.ts";

interface Chain {
  readonly files: readonly {
    readonly file: string;
    readonly revision: string;
    readonly downRevision: string | string[] | null;
  }[];
  readonly missing: readonly string[];
  readonly heads: readonly string[];
  readonly roots: readonly string[];
}

const chains = JSON.parse(readFileSync(new URL("fixtures/alembic-chains.json", import.meta.url), "utf8")) as Record<
  "smallerFolder" | "largerFolder",
  Chain
>;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "alembic-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** The ways in which the real files write the same thing. */
const STYLES = [
  (name: string, value: string) => `${name} = ${value}\n`,
  (name: string, value: string) => `${name}: Union[str, Sequence[str], None] = ${value}  # it's annotated\n`,
  (name: string, value: string) => `${name}=${value.replaceAll('"', "'").replaceAll(", ", ",\n    # next\n    ")};\n`,
];

function pythonValue(value: string | string[] | null): string {
  if (value === null) return "None";
  return typeof value === "string" ? `"${value}"` : `(${value.map((item) => `"${item}"`).join(", ")})`;
}

function writeChain({ files }: Chain): void {
  for (const [index, { file, revision, downRevision }] of files.entries()) {
    const style = STYLES[index % STYLES.length]!;
    writeFileSync(
      join(folder, file),
      `"""${file}\n\nRevision ID: nonsense\nrevision = "not this one"\n"""\nfrom alembic import op\n\n# revision = "nor this"\n` +
        style("revision", pythonValue(revision)) +
        style("down_revision", pythonValue(downRevision)) +
        "branch_labels = None\ndepends_on = None\n\n\ndef upgrade() -> None:\n    revision = 'nor that'\n    op.execute('''\ndown_revision = 1\n''')\n",
    );
  }
}

/** Whether every revision comes after all that it names, in one chain. */
function expectOneChain(report: AlembicReport): void {
  const seen = new Set<string>();
  let previous: string | null = null;
  for (const { revision, downRevision } of report.order) {
    expect(downRevision).toBe(previous);
    const parents = report.revisions.find((each) => each.revision === revision)?.downRevisions ?? [];
    const unknown = new Set(report.missing.map(({ revision: id }) => id));
    expect(parents.filter((parent) => !seen.has(parent) && !unknown.has(parent))).toEqual([]);
    seen.add(revision);
    previous = revision;
  }
  expect(seen.size).toBe(new Set(report.revisions.map(({ revision }) => revision)).size);
}

describe("readAlembicFolder on the application's folders", () => {
  test("names the missing revision, four heads and one root of the smaller one", () => {
    writeChain(chains.smallerFolder);
    const report = readAlembicFolder(folder);
    expect(report.missing).toEqual([
      { revision: "c3d7a3a4d59c", referencedBy: ["a1b2c3d4e5f6_add_user_history_and_system_prompts.py"] },
    ]);
    expect(report.heads).toEqual(chains.smallerFolder.heads);
    expect(report.heads).toHaveLength(4);
    expect(report.roots).toEqual(["c1f348491f8"]);
    expect(report).toMatchObject({ cycles: [], duplicates: [], unreadable: [] });
    expectOneChain(report);
    expect(report.order[0]?.revision).toBe("c1f348491f8");
    expect(report.order.at(-1)?.revision).toBe("a1b2c3d4e5f6");
    expect(alembicProblems(report).map(({ subject }) => subject)).toEqual(["c3d7a3a4d59c", "4 heads"]);
    expect(alembicSummary(report)).toBe("11 revisions, 1 missing (c3d7a3a4d59c), 4 heads, 1 root");
  });

  test("names nine heads and three roots of the larger one", () => {
    writeChain(chains.largerFolder);
    const report = readAlembicFolder(folder);
    expect(report.missing).toEqual([]);
    expect(report.heads).toEqual(chains.largerFolder.heads);
    expect(report.heads).toHaveLength(9);
    expect(report.roots).toEqual(chains.largerFolder.roots);
    expect(report.roots).toHaveLength(3);
    expectOneChain(report);
    expect(alembicProblems(report).map(({ subject }) => subject)).toEqual(["9 heads", "3 roots"]);
    expect(alembicSummary(report)).toBe(`${report.revisions.length} revisions, 0 missing, 9 heads, 3 roots`);
  });

  test("proposes the same order every time, and keeps what is a chain already", () => {
    writeChain(chains.largerFolder);
    expect(readAlembicFolder(folder).order).toEqual(readAlembicFolder(folder).order);
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    writeChain({
      ...chains.smallerFolder,
      files: [
        { file: "b.py", revision: "b", downRevision: "c" },
        { file: "a.py", revision: "a", downRevision: "b" },
        { file: "c.py", revision: "c", downRevision: null },
      ],
    });
    expect(readAlembicFolder(folder).order).toEqual([
      { revision: "c", file: "c.py", downRevision: null, changed: false },
      { revision: "b", file: "b.py", downRevision: "c", changed: false },
      { revision: "a", file: "a.py", downRevision: "b", changed: false },
    ]);
    expect(alembicProblems(readAlembicFolder(folder))).toEqual([]);
  });
});

function write(files: Record<string, string>): AlembicReport {
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  return readAlembicFolder(folder);
}

describe("readAlembicFolder on other faults", () => {
  test("names cycles, and orders what is in none", () => {
    const report = write({
      "a.py": "revision = 'a'\ndown_revision = None",
      "b.py": "revision = 'b'\ndown_revision = 'd'",
      "c.py": "revision = 'c'\ndown_revision = 'b'",
      "d.py": "revision = 'd'\ndown_revision = 'c'",
      "e.py": "revision = 'e'\ndown_revision = 'd'",
      "f.py": "revision = 'f'\ndown_revision = 'f'",
    });
    expect(report.cycles).toEqual([["b", "d", "c"], ["f"]]);
    expect(report.order.map(({ revision }) => revision)).toEqual(["a"]);
    expect(alembicProblems(report).map(({ problem }) => problem)).toContain(
      "b -> d -> c -> b: each needs the next one first.",
    );
    expect(alembicSummary(report)).toBe("6 revisions, 0 missing, 2 heads, 1 root, 2 cycles");
  });

  test("names duplicate ids with their files", () => {
    const report = write({ "a.py": "revision = 'a'", "b.py": "revision = 'a'\ndown_revision = None" });
    expect(report.duplicates).toEqual([{ revision: "a", files: ["a.py", "b.py"] }]);
  });

  test("follows depends_on and branch labels", () => {
    const report = write({
      "a.py": "revision = 'a'\ndown_revision = None\ndepends_on = ('b', 'ui')",
      "b.py": "revision = 'b'\ndown_revision = None",
      "c.py": "revision = 'c'\ndown_revision = None\nbranch_labels = ('ui',)",
      "d.py": "revision = 'd'\ndown_revision = 'a'\ndepends_on = 'gone'",
    });
    expect(report.order.map(({ revision }) => revision)).toEqual(["b", "c", "a", "d"]);
    expect(report.missing).toEqual([{ revision: "gone", referencedBy: ["d.py"] }]);
  });

  test("names files without a readable revision and takes the folder above versions", () => {
    mkdirSync(join(folder, "versions"));
    writeFileSync(join(folder, "env.py"), "");
    writeFileSync(join(folder, "versions", "__init__.py"), "");
    writeFileSync(join(folder, "versions", "a.py"), "import os\n");
    writeFileSync(join(folder, "versions", "b.py"), "revision = make_id()\n");
    writeFileSync(join(folder, "versions", "c.py"), "revision = 'c'\ndown_revision = OTHER\n");
    expect(readAlembicFolder(folder).unreadable).toEqual([
      { file: "a.py", reason: "assigns no revision" },
      { file: "b.py", reason: "its revision is no plain text" },
      { file: "c.py", reason: "its down_revision is no plain text, tuple or None" },
    ]);
  });

  test("refuses a folder that does not exist", () => {
    expect(() => readAlembicFolder(join(folder, "nowhere"))).toThrow("can't be read");
  });
});

describe("readAssignments", () => {
  test.each<[string, unknown]>([
    ["x = 'a'", "a"],
    ['x = "a"', "a"],
    ["x = r'a\\n'", "a\\n"],
    ["x = u'a\\n'", "a\n"],
    ['x = """a"b"""', 'a"b'],
    ["x = 'a' 'b'", "ab"],
    ["x = ('a'\n  # why\n  'b')", "ab"],
    ["x = ('a')", "a"],
    ["x = ('a',)", ["a"]],
    ["x = 'a', 'b'", ["a", "b"]],
    ["x = ['a']", ["a"]],
    ["x = {'a', 'b',}", ["a", "b"]],
    ["x = ()", []],
    ["x = (None)", null],
    ["x = None", null],
    ["x = \\\n  'a'", "a"],
    ["x: str = 'a'", "a"],
    ["x: dict[str, 'Any'] = 'a'", "a"],
    ["x = 'a'\nx = 'b'", "b"],
    ["y = 1; x = 'a'", "a"],
    ["\uFEFFx = 'a'\r\n", "a"],
    ["x = f'a'", UNREADABLE],
    ["x = b'a'", UNREADABLE],
    ["x = 'a' + 'b'", UNREADABLE],
    ["x = y", UNREADABLE],
    ["x = ('a', y)", UNREADABLE],
    ["x = 'a", UNREADABLE],
    ["if True:\n    x = 'a'", undefined],
    ["x == 'a'", UNREADABLE],
    ["# x = 'a'", undefined],
    ["'''\nx = 'a'\n'''", undefined],
    ["f(\nx = 'a'\n)", undefined],
    ["x.y = 'a'", undefined],
  ])("reads %j", (source, value) => {
    expect(readAssignments(source, ["x"]).get("x")).toEqual(value);
  });
});
