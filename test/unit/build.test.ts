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
  // The program ends at a setting that it refuses: all that a preview loads is loaded by then.
  const script = `
    const { createRequire } = await import("node:module");
    const ended = await import("./infra/index.js").then(() => "", (error) => error.message);
    const loaded = Object.values(createRequire(process.cwd() + "/x").cache).map(({ filename }) => filename ?? "");
    const has = (part) => loaded.some((filename) => filename.includes(part));
    console.log(JSON.stringify([ended, has("/@pulumi/pulumi/index.js"), has("/arborist/")]));`;
  const REFUSED = {
    PULUMI_NODEJS_STACK: "dev",
    PULUMI_NODEJS_PROJECT: "ai-workflow-database",
    PULUMI_CONFIG: JSON.stringify({ "ai-workflow-database:databaseName": "postgres" }),
  };
  const program = (env: NodeJS.ProcessEnv) =>
    JSON.parse(
      execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
        cwd: folder,
        encoding: "utf8",
        env: { ...process.env, ...REFUSED, ...env },
      }),
    ) as unknown[];
  expect(program({})).toEqual([expect.stringContaining("is reserved"), true, false]);
  // Off while debugging, which shows that the look above can see it.
  expect(program({ AIWDB_SDK_DEBUG: "1" })).toEqual([expect.stringContaining("is reserved"), true, true]);
});
