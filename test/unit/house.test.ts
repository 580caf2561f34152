import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { renderHouse } from "../../dev/docs/house.ts";
import house from "../../dev/house.json" with { type: "json" };

let root: string;

/** A checkout with the lint rule and the files given, and nothing else. */
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "aiwdb-house-"));
  for (const part of [".dependency-cruiser.mjs", "dev/house.json", "tsconfig.json", "package.json"])
    cpSync(path.join(PACKAGE_ROOT, part), path.join(root, part));
  symlinkSync(path.join(PACKAGE_ROOT, "node_modules"), path.join(root, "node_modules"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function plant(files: Readonly<Record<string, string>>): { status: number | null; output: string } {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  }
  const rooms = [...new Set(Object.keys(files).map((file) => file.split("/")[0] ?? ""))];
  const cruiser = path.join(root, "node_modules/dependency-cruiser/bin/dependency-cruiser.mjs");
  const { status, stdout, stderr } = spawnSync(process.execPath, [cruiser, ...rooms], { cwd: root, encoding: "utf8" });
  return { status, output: stdout + stderr };
}

test("imports that go down are fine, type imports too", () => {
  const { status, output } = plant({
    "cli/a.ts": 'import { b } from "../stack/b.ts";\nexport const a = b;\n',
    "stack/b.ts": 'import type { C } from "../base/c.ts";\nexport const b: C = 1;\n',
    "base/c.ts": "export type C = number;\n",
  });
  expect(output).toContain("no dependency violations");
  expect(status).toBe(0);
});

test.each([
  ["upwards", "base/a.ts", "stack/b.ts"],
  ["to a room on the same floor", "migrate/run/a.ts", "database/b.ts"],
  ["upwards inside a room with floors of its own", "infra/settings/a.ts", "infra/servers/postgres/b.ts"],
  ["up to what lies beside a room's inner floors", "infra/provider/a.ts", "infra/b.ts"],
  ["of a test", "cli/a.ts", "test/b.ts"],
])("an import %s is refused", (_what, from, to) => {
  const relative = path.relative(path.dirname(from), to);
  const specifier = relative.startsWith(".") ? relative : `./${relative}`;
  for (const statement of [`import { b } from "${specifier}"`, `import type { b } from "${specifier}"`]) {
    const { status, output } = plant({
      [from]: `${statement};\nexport type A = typeof b;\n`,
      [to]: "export const b = 1;\n",
    });
    expect(output).toContain(`${from} → ${to}`);
    expect(status).not.toBe(0);
  }
});

test("a circle is refused, also one of types only", () => {
  const { status, output } = plant({
    "base/a.ts": 'import type { B } from "./b.ts";\nexport type A = B | 1;\n',
    "base/b.ts": 'import type { A } from "./a.ts";\nexport type B = { a: A };\n',
  });
  expect(output).toContain("no-circle");
  expect(status).not.toBe(0);
});

test("docs/house.svg shows the rooms as they are", async () => {
  expect(readFileSync(path.join(PACKAGE_ROOT, "docs/house.svg"), "utf8"), "run `npm run docs`").toBe(
    await renderHouse(),
  );
});

test("docs/development.md names files and folders that are there", () => {
  const page = readFileSync(path.join(PACKAGE_ROOT, "docs/development.md"), "utf8");
  const named = [...page.matchAll(/`((?:[\w.-]+\/)+[\w.-]*)`/g)].map(([, name = ""]) => name);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !existsSync(path.join(PACKAGE_ROOT, name)))).toEqual(["image/"]);
});

test("every folder with code of the package is a room", () => {
  const rooms = new Set(house.floors.flat().map(({ room }) => room));
  const { stdout } = spawnSync("git", ["ls-files", "*.ts"], { cwd: PACKAGE_ROOT, encoding: "utf8" });
  const folders = new Set(stdout.split("\n").flatMap((file) => (file.includes("/") ? [file.split("/")[0] ?? ""] : [])));
  for (const standsOnThem of ["bench", "examples", "test"]) folders.delete(standsOnThem);
  expect([...folders].filter((folder) => !rooms.has(folder))).toEqual([]);
});
