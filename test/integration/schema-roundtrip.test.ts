import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { readCatalogue } from "../helpers/catalogue.ts";
import { fillTables } from "../helpers/fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase;
let owner: Client;
let failed = false;

beforeAll(async () => {
  database = await createSchemaDatabase("roundtrip", { empty: true });
  owner = await database.connect("ai_workflow_owner");
});
afterEach(({ task }) => {
  failed ||= task.result?.state === "fail";
});
afterAll(async () => {
  await database?.close(failed);
});

/** Up, down and up again, one migration at a time. Returns what was not as it should be. */
async function roundTripEach(between: () => Promise<void>): Promise<string[]> {
  const problems: string[] = [];
  let before = await readCatalogue(owner);
  for (const [index, { name }] of database.migrations.entries()) {
    await database.up(index + 1);
    const after = await readCatalogue(owner);
    // Rows, which a seed writes, and constraints that were valid already are no part of the catalogue.
    if (difference(after, before) === "" && !/_(seed|validate)_/.test(name)) problems.push(`${name} changes nothing`);
    await between();
    await database.down(1);
    const undone = difference(await readCatalogue(owner), before);
    if (undone !== "") problems.push(`${name}.down.sql leaves another catalogue than was there before:\n${undone}`);
    await database.up(index + 1);
    const redone = difference(await readCatalogue(owner), after);
    if (redone !== "") problems.push(`${name} gives another catalogue the second time:\n${redone}`);
    before = after;
    await between();
  }
  return problems;
}

function difference(actual: string[], expected: string[]): string {
  const additional = actual.filter((line) => !expected.includes(line)).map((line) => `+ ${line}`);
  const missing = expected.filter((line) => !actual.includes(line)).map((line) => `- ${line}`);
  return [...additional, ...missing].join("\n");
}

describe("the migrations", () => {
  it("round-trip one by one on an empty database", { timeout: 120_000 }, async () => {
    expect(await roundTripEach(async () => {})).toEqual([]);
  });

  it("go down to nothing and up again with rows in every table", { timeout: 120_000 }, async () => {
    const full = await readCatalogue(owner);
    const filled = await fillTables(owner);
    expect(filled.size).toBe(78);
    expect([...filled].filter(([, rows]) => rows === 0)).toEqual([]);
    // Partitions that maintenance made are in no migration and have to go as well.
    await owner.query("select * from maintenance.make_partitions()");

    await database.down(database.migrations.length);
    expect(
      (await readCatalogue(owner)).filter((line) => !/^(default acl|extension|schema public) /.test(line)),
    ).toEqual([]);
    await database.up();
    expect(await readCatalogue(owner)).toEqual(full);
  });

  it("round-trip one by one with rows in every table there is", { timeout: 240_000 }, async () => {
    await database.down(database.migrations.length);
    const problems = await roundTripEach(async () => {
      await fillTables(owner);
    });
    expect(problems).toEqual([]);
  });

  it("leave the old tool's marker alone, up and down", async () => {
    await database.down(database.migrations.length);
    await owner.query(`
      create table public.alembic_version (version_num varchar(32) not null constraint alembic_version_pkc primary key);
      insert into public.alembic_version values ('e1f2g3h4i5j6');`);
    await database.up();
    await database.down(database.migrations.length);
    const { rows } = await owner.query("select version_num from public.alembic_version");
    expect(rows).toEqual([{ version_num: "e1f2g3h4i5j6" }]);
  });
});
