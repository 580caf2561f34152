import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { deferModule } from "../../base/deferred-module.ts";

let loads: string[];
let file: (name: string, text: string) => string;
let main: string;
let require: NodeJS.Require;

beforeEach(() => {
  const folder = mkdtempSync(join(tmpdir(), "aiwdb-deferred-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  main = join(folder, "main.cjs");
  require = createRequire(main);
  loads = [];
  Object.assign(globalThis, { loads });
  file = (name, text) => {
    const path = join(folder, name);
    writeFileSync(path, `globalThis.loads.push("${name}");\n${text}`);
    return `./${name}`;
  };
});

test("a deferred module is loaded once, when something asks for an export", () => {
  const path = file("object.cjs", "exports.answer = 42;");
  deferModule(main, path);
  const module = require(path) as { answer: number };
  expect(loads).toEqual([]);
  expect([module.answer, module.answer]).toEqual([42, 42]);
  expect(loads).toEqual(["object.cjs"]);
});

test("a deferred module that is a function can be called", () => {
  const path = file("function.cjs", "module.exports = (a, b) => a + b;");
  deferModule(main, path);
  const add = require(path) as (a: number, b: number) => number;
  expect(loads).toEqual([]);
  expect(add(1, 2)).toBe(3);
});

test("a module that is loaded already stays as it is", () => {
  const path = file("loaded.cjs", "exports.answer = 42;");
  const before: unknown = require(path);
  deferModule(main, path);
  expect(require(path)).toBe(before);
});

test("a module that is not there is left alone", () => {
  for (const name of ["./absent.cjs", "absent-package/lib/file"]) {
    deferModule(main, name);
    expect(() => require(name) as unknown).toThrow("Cannot find module");
  }
});

test("a file that its package does not export is left alone", () => {
  mkdirSync(join(main, "../node_modules/closed"), { recursive: true });
  file("node_modules/closed/inside.js", "");
  file("node_modules/closed/index.js", "");
  writeFileSync(join(main, "../node_modules/closed/package.json"), '{ "name": "closed", "exports": "./index.js" }');
  const closed = "closed";
  deferModule(main, `${closed}/inside`);
  require(closed);
  expect(loads).toEqual(["node_modules/closed/index.js"]);
});
