import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { Finding } from "../../migrate/check/hazards.ts";
import { runSquawk } from "../../migrate/check/squawk.ts";

const folder = fileURLToPath(new URL("fixtures/squawk", import.meta.url));
const migrations = fileURLToPath(new URL("../../migrations", import.meta.url));

/** Every rule of squawk 2.66 that .squawk.toml leaves on; a file each in fixtures/squawk. */
const RULES = [
  "adding-field-with-default",
  "adding-foreign-key-constraint",
  "adding-not-nullable-field",
  "adding-required-field",
  "adding-serial-primary-key-field",
  "ban-alter-domain-with-add-constraint",
  "ban-char-field",
  "ban-concurrent-index-creation-in-transaction",
  "ban-create-domain-with-constraint",
  "ban-drop-column",
  "ban-drop-database",
  "ban-drop-not-null",
  "ban-drop-table",
  "ban-duplicate-column-assignments",
  "ban-truncate-cascade",
  "ban-uncommitted-transaction",
  "changing-column-type",
  "constraint-missing-not-valid",
  "disallowed-unique-constraint",
  "identifier-too-long",
  "prefer-identity",
  "prefer-timestamp-tz",
  "renaming-column",
  "renaming-table",
  "require-concurrent-index-creation",
  "require-concurrent-index-deletion",
  "require-concurrent-partition-detach",
  "require-concurrent-reindex",
  "require-enum-value-ordering",
  "require-table-schema",
  "transaction-nesting",
];

describe("squawk with the package's rules", () => {
  let findings: Finding[];

  beforeAll(() => {
    findings = runSquawk(readdirSync(folder).map((file) => `${folder}/${file}`));
  });

  test("has a bad example for every rule that is on", () => {
    expect(readdirSync(folder).sort()).toEqual(RULES.map((rule) => `${rule}.sql`));
  });

  test.each(RULES)("speaks on the bad example of %s", (rule) => {
    const found = findings.filter(({ file }) => file === `${rule}.sql`);
    expect(found.map((finding) => finding.rule)).toContain(rule);
    expect(found[0]).toMatchObject({ line: 1, remedy: expect.stringContaining(`https://squawkhq.com/docs/`) });
  });

  test("is silent on the package's own chain", () => {
    expect(runSquawk(readdirSync(migrations).map((file) => `${migrations}/${file}`))).toEqual([]);
  });
});
