import fc from "fast-check";
import { expect, test } from "vitest";
import { parseConfig } from "../../infra/settings/check.ts";
import { engineNames, lookupDatabase, sessionDatabase, STACK_NAME } from "../../infra/settings/names.ts";

/** Of the longest stack name that is taken. */
const LONGEST = `z${"9".repeat(29)}`;

/** The words that names on the engine are made of. */
const WORDS = [...new Set(Object.values(engineNames("x")).flatMap((name) => name.split("-").slice(2)))];

test("the longest stack name is taken, one more character is not", () => {
  expect(LONGEST).toMatch(STACK_NAME);
  expect(`${LONGEST}9`).not.toMatch(STACK_NAME);
});

test("a stack whose name goes on with the words of our names shares none with the stack it begins like", () => {
  const stack = fc.string({ unit: fc.constantFrom("a", "-", ...WORDS), minLength: 1, maxLength: 4 });
  const taken = stack.filter((name) => STACK_NAME.test(name));
  const more = fc.array(fc.constantFrom(...WORDS), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(taken, more, (one, words) => {
      const names = [one, [one, ...words].join("-")].flatMap((each) => Object.values(engineNames(each)));
      expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
    }),
    { numRuns: 1_000 },
  );
});

test("containers of the longest stack name are host names, which have 63 characters at most", () => {
  const { postgres, pgbouncer, maintenance } = engineNames(LONGEST);
  for (const name of [postgres, pgbouncer, maintenance]) expect(name).toMatch(/^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$/);
});

test("the pooler's entries of every database name that is taken are names of their own that PostgreSQL does not cut off", () => {
  const character = fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz0123456789_");
  const name = fc.string({ unit: character, minLength: 50, maxLength: 60 });
  let taken = 0;
  fc.assert(
    fc.property(name, (databaseName) => {
      const isTaken = databaseName.length <= 55 && !/^[0-9]/.test(databaseName);
      if (!isTaken) {
        expect(() => parseConfig("dev", { databaseName })).toThrow("databaseName");
        return;
      }
      taken += 1;
      const entries = [parseConfig("dev", { databaseName }).databaseName];
      entries.push(sessionDatabase(databaseName), lookupDatabase(databaseName));
      expect(new Set(entries).size).toBe(3);
      for (const entry of entries) expect(entry.length).toBeLessThanOrEqual(63);
    }),
  );
  expect(taken).toBeGreaterThan(10);
});
