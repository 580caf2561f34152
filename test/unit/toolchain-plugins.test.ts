import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { keepNoLogs } from "../../toolchain/plugins.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "aiwdb-pulumi-home-"));
  onTestFinished(() => rmSync(home, { recursive: true }));
});

test("a file takes the place of the folder of logs, once", () => {
  keepNoLogs(home);
  const made = statSync(join(home, "logs"));
  expect(made.isFile()).toBe(true);
  keepNoLogs(home);
  expect(statSync(join(home, "logs")).mtimeMs).toBe(made.mtimeMs);
});

test("logs of earlier runs are removed, and nothing else", () => {
  mkdirSync(join(home, "logs"));
  mkdirSync(join(home, "plugins"));
  writeFileSync(join(home, "logs/organization+project+dev.log"), "PLOG");
  keepNoLogs(home);
  expect(statSync(join(home, "logs")).isFile()).toBe(true);
  expect(existsSync(join(home, "plugins"))).toBe(true);
});
