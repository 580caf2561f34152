import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readMigrations } from "../../migrate/chain/files.ts";
import { upToPhase, type Phase } from "../../migrate/chain/phases.ts";
import { migrations as migrationsType } from "../../infra/provider/resources/migrations.ts";
import { called } from "../helpers/provider.ts";

const migrations = called(migrationsType);

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "preview-"));
  for (const [name, phase] of [
    ["0001_create_a", 1],
    ["0002_create_b", 1],
    ["0003_create_c", 2],
    ["0004_create_d", 3],
    ["0005_create_e", 3],
    ["0006_create_f", 4],
  ]) {
    const header = `-- Phase: ${phase}\n-- Why: test.\n-- Lock: none.\n`;
    writeFileSync(join(folder, `${name}.up.sql`), `${header}select 1;\n`);
    writeFileSync(join(folder, `${name}.down.sql`), `${header}select 1;\n`);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Inputs of a stack that asks for a phase. */
function inputs(phase: Phase) {
  return {
    connection: { database: "db" },
    folder,
    migrations: upToPhase(readMigrations(folder), phase).map(({ name }) => name),
    checksums: {},
  };
}

/** The lines that stay, as a preview of `news` on a stack in the state of `olds` prints them. */
async function preview(news: ReturnType<typeof inputs>, olds?: ReturnType<typeof inputs>): Promise<string[]> {
  const lines: string[] = [];
  const report = { status: () => {}, info: (line: string) => void lines.push(line), warn: () => {} };
  expect(await migrations.check?.(news, olds ?? {}, report)).toEqual([]);
  if (olds) await migrations.diff?.(olds, news, report);
  return lines;
}

test("says phase by phase what is pending, for a stack that has some phases", async () => {
  expect(await preview(inputs(3), inputs(1))).toEqual([
    "phase 1 foundation: all 2 applied",
    "phase 2 authentication: 1 pending: 0003_create_c",
    "phase 3 application: 2 pending: 0004_create_d, 0005_create_e",
    "phase 4 optimization: not asked for by rolloutPhase, 1 left out",
  ]);
});

test("says it for a new stack as well", async () => {
  expect(await preview(inputs(2))).toEqual([
    "phase 1 foundation: 2 pending: 0001_create_a, 0002_create_b",
    "phase 2 authentication: 1 pending: 0003_create_c",
    "phase 3 application: not asked for by rolloutPhase, 2 left out",
    "phase 4 optimization: not asked for by rolloutPhase, 1 left out",
  ]);
});

test("counts only what is left of a phase that was begun", async () => {
  const begun = inputs(4);
  expect(await preview(inputs(4), { ...begun, migrations: begun.migrations.slice(0, 4) })).toEqual([
    "phase 1 foundation: all 2 applied",
    "phase 2 authentication: all 1 applied",
    "phase 3 application: 1 pending: 0005_create_e",
    "phase 4 optimization: 1 pending: 0006_create_f",
  ]);
});

test("is silent when nothing is pending", async () => {
  expect(await preview(inputs(3), inputs(3))).toEqual([]);
});
