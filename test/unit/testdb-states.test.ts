import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";

const ROOT = path.join(import.meta.dirname, "../..");
const sources = ["testing", "cli", "bench"].flatMap((room) =>
  readdirSync(path.join(ROOT, room), { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(ts|sql)$/.test(file))
    .map((file) => path.join(room, file)),
);
const text = (file: string) => readFileSync(path.join(ROOT, file), "utf8");
const withMatch = (pattern: RegExp) => sources.filter((file) => pattern.test(text(file)));

const STATES = text("testing/pool/states.sql");
const transitions = [...STATES.matchAll(/^create function (testdb\.\w+)/gm)].map(([, name = ""]) => name);

test("only states.sql writes the state of a test database", () => {
  expect(
    withMatch(/\b(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?|copy)\s+testdb\.clone\b/i),
  ).toEqual(["testing/pool/states.sql"]);
});

test("only states.ts calls its transitions, and each of them", () => {
  expect(transitions.length).toBeGreaterThan(15);
  for (const name of transitions) {
    expect([name, withMatch(new RegExp(`\\b${name.replace(".", "\\.")}\\(`)).toSorted()]).toEqual([
      name,
      ["testing/pool/states.sql", "testing/pool/states.ts"],
    ]);
  }
});

test("its head names every state and every transition", () => {
  const head = STATES.slice(0, STATES.indexOf("create table"));
  const states = /check \(state in \(([^)]*)\)\)/.exec(STATES)?.[1]?.match(/\w+/g) ?? [];
  expect(states).toHaveLength(7);
  const changes = [...STATES.matchAll(/create function testdb\.(\w+)[\s\S]*?\n\$\$;/g)]
    .filter(([body]) => /state = '|insert into|delete from|set lease/.test(body.replaceAll(/where[^;]*;/g, "")))
    .map(([, name = ""]) => name);
  for (const word of [...states, ...changes]) expect(head).toMatch(new RegExp(`\\b${word}\\b`));
});
