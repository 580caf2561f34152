import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { bundle, completeBuild } from "../../dev/build.ts";

let folder: string;
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" });

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "aiwdb-build-"));
  symlinkSync(path.join(PACKAGE_ROOT, "node_modules"), path.join(folder, "node_modules"));
  await bundle(folder);
  completeBuild(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the bundled program finds its files, and says what the program in the checkout says", () => {
  expect(node("cli/main.js", "--help")).toBe(
    execFileSync(process.execPath, [path.join(PACKAGE_ROOT, "cli/main.ts"), "--help"], { encoding: "utf8" }),
  );
  const created = node("cli/main.js", "migrate", "new", "create_probe", "--phase", "4");
  expect(created).toMatch(/^migrations\/\d{4}_create_probe\.up\.sql\n/);
});

test("what the package exports can be imported", () => {
  const { exports } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as {
    exports: Record<string, string>;
  };
  const script = `
    const { DatabaseStack } = await import("${exports["."]}");
    const { testDatabase } = await import("${exports["./testing"]}");
    console.log(typeof DatabaseStack, typeof testDatabase);`;
  expect(node("--input-type=module", "--eval", script)).toBe("function function\n");
});

test("in Pulumi's program the SDK is quiet before it is loaded", () => {
  const program = readFileSync(path.join(folder, "infra/index.js"), "utf8");
  const [first] = /"[^"]*"/.exec(program) ?? [];
  const quiet = readFileSync(path.join(folder, "infra/quiet-sdk.js"), "utf8");
  expect(quiet).toContain(first);
  const script = `
    await import("./infra/quiet-sdk.js");
    await import("./infra/database-stack.js");
    const { createRequire } = await import("node:module");
    const loaded = Object.values(createRequire(process.cwd() + "/x").cache);
    console.log(loaded.filter(({ filename }) => filename?.includes("/arborist/")).length);`;
  expect(node("--input-type=module", "--eval", script)).toBe("0\n");
});
