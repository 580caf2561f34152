import * as fc from "fast-check";
import { loadModule, parseSync } from "libpg-query";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { semanticChecksum } from "../../migrate/chain/checksum.ts";
import { sqlTokens } from "../../migrate/chain/lexer.ts";

beforeAll(async () => {
  await loadModule();
});

/** What PostgreSQL's own grammar makes of SQL, without the places in the text; undefined if it is no SQL. */
function treeOf(sql: string): string | undefined {
  try {
    return JSON.stringify(parseSync(sql), (key, value: unknown) =>
      key === "location" || key.startsWith("stmt_l") ? undefined : value,
    );
  } catch {
    return undefined;
  }
}

const OPERANDS = [
  "1",
  "1.5",
  ".5",
  "1e5",
  "0x1F",
  "1_000",
  "a",
  '"A ""b"" -- c"',
  "'it''s -- not /* a comment'",
  "E'a\\'b -- c'",
  "e'\\\\'",
  "$$ -- body; /* $1 */ '$$",
  "$tag$ $$ inner $$ $tag$",
  "U&'d\\0061t'",
  'U&"d\\0061t"',
  "B'101'",
  "x'1F'",
  "n'text'",
  "$1",
  "a$b",
  "übung",
  "(1)",
  "a.b",
  "a::text",
  "- 1",
];
const OPERATORS = [
  "+",
  "-",
  "*",
  "/",
  "<",
  ">",
  "=",
  "<>",
  "!=",
  "<=",
  ">=",
  "||",
  "->",
  "->>",
  "@>",
  "?-",
  "~*",
  "@-",
  "%",
];
const GAPS = [
  " ",
  "\n",
  "\t \r\n",
  "\f",
  "-- it's a comment\n",
  "/* one */",
  "/* nested /* 'two */ -- */",
  "--\n--$$\n ",
  "/**/",
];

/** Tokens of `select <operand> <operator> <operand> …`. */
const selectTokens = fc
  .tuple(
    fc.constantFrom(...OPERANDS),
    fc.array(fc.tuple(fc.constantFrom(...OPERATORS), fc.constantFrom(...OPERANDS)), { maxLength: 6 }),
  )
  .map(([first, rest]) => ["select", first, ...rest.flat(), ";"]);

function withGaps(tokens: readonly string[], gaps: readonly string[]): string {
  return tokens.map((token, index) => token + (gaps[index] ?? " ")).join("");
}

describe("semanticChecksum against PostgreSQL's own parser", () => {
  test("stays the same when only comments and white space change", () => {
    const gaps = fc.array(fc.constantFrom(...GAPS), { minLength: 15, maxLength: 15 });
    fc.assert(
      fc.property(selectTokens, gaps, (tokens, between) => {
        const plain = tokens.join(" ");
        // A space first: a comment that touches an operator would end it earlier.
        const changed = withGaps(
          tokens,
          between.map((gap) => ` ${gap}`),
        );
        expect(treeOf(changed)).toBe(treeOf(plain));
        expect(semanticChecksum(changed)).toBe(semanticChecksum(plain));
      }),
      { numRuns: 1000 },
    );
  });

  test("is equal exactly where the parse tree is, also where tokens touch", () => {
    const gaps = fc.array(fc.constantFrom("", "", ...GAPS), { minLength: 15, maxLength: 15 });
    fc.assert(
      fc.property(selectTokens, gaps, (tokens, between) => {
        const plain = tokens.join(" ");
        const squeezed = withGaps(tokens, between);
        const tree = treeOf(squeezed);
        fc.pre(tree !== undefined && treeOf(plain) !== undefined);
        expect(semanticChecksum(squeezed) === semanticChecksum(plain)).toBe(tree === treeOf(plain));
      }),
      { numRuns: 3000 },
    );
  });

  test("never hides an edit: any character put in, taken out or replaced that changes the tree changes the checksum", () => {
    const edit = fc.record({
      tokens: selectTokens,
      at: fc.nat(200),
      removed: fc.nat(2),
      inserted: fc.constantFrom(
        "",
        " ",
        "\n",
        "'",
        '"',
        "$",
        "$$",
        "-",
        "--",
        "/*",
        "*/",
        "\\",
        "+",
        ".",
        "e",
        "E",
        "1",
        "_",
      ),
    });
    fc.assert(
      fc.property(edit, ({ tokens, at, removed, inserted }) => {
        const plain = tokens.join("\n");
        const place = at % plain.length;
        const edited = plain.slice(0, place) + inserted + plain.slice(place + removed);
        expect(semanticChecksum(edited) !== semanticChecksum(plain) || treeOf(edited) === treeOf(plain)).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });
});

describe("sqlTokens", () => {
  test.each([
    ["a=-1", ["a", "=", "-", "1"]],
    ["a ?- b", ["a", "?-", "b"]],
    ["a--b\n+c", ["a", "+", "c"]],
    ["a+/* c */b", ["a", "+", "b"]],
    ["1..10", ["1", "..", "10"]],
    ["x:=1::int", ["x", ":=", "1", "::", "int"]],
    ["E'a\\''\n  'it\\'s' 'x'", ["E'a\\''", "'it\\'s'", "'x'"]],
    ["E'a' -- why\n'\\' b' c", ["E'a'", "'\\' b'", "c"]],
    ["'a\\' 'b'", ["'a\\'", "'b'"]],
    ["a$1$b $1", ["a$1$b", "$1"]],
    ["$x$ $y$ $x$ $y$ $y$", ["$x$ $y$ $x$", "$y$ $y$"]],
    ["/* a /* b */ c */ d /*", ["d"]],
    ["'open -- string", ["'", "open"]],
    ["$$ open body", ["$$ open body"]],
    ["", []],
  ])("reads %j", (sql, tokens) => {
    expect(sqlTokens(sql)).toEqual(tokens);
  });

  test("keeps apart what differs by one space only in a string or a function body", () => {
    expect(semanticChecksum("select 'a b'")).not.toBe(semanticChecksum("select 'a  b'"));
    expect(semanticChecksum("do $$begin null; end$$")).not.toBe(semanticChecksum("do $$begin null;  end$$"));
    expect(semanticChecksum("select e 'x'")).not.toBe(semanticChecksum("select e'x'"));
  });
});

/** What reading a text costs: characters looked at by code, and steps of regular expressions. */
function workOf(read: () => unknown): { characters: number; steps: number } {
  const spies = [vi.spyOn(String.prototype, "charCodeAt"), vi.spyOn(RegExp.prototype, "exec")] as const;
  try {
    read();
    const [characters, steps] = spies.map(({ mock }) => mock.calls.length) as [number, number];
    return { characters, steps };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

// How long that takes: bench/checksum.ts.
test("looks a few times at each character of a usual file, and at nothing twice as a file grows", () => {
  const file = (columns: number) =>
    `-- Phase: 1\n-- Why: users log in.\ncreate table public.users (\n${Array.from(
      { length: columns },
      (_, index) =>
        `  column_${index} character varying(255) not null default 'value' check (column_${index} <> ''), -- why\n`,
    ).join("")}  id bigint generated always as identity primary key\n);\ncomment on table public.users is 'People.';\n`;
  const [small, medium, large] = [30, 60, 90].map((columns) => workOf(() => semanticChecksum(file(columns))));
  // By regular expression only a number, two strings, a comment and, in two steps, an operator a line; all else by
  // code.
  expect(large!.steps - medium!.steps).toBe(medium!.steps - small!.steps);
  expect(medium!.steps - small!.steps).toBe(30 * 6);
  expect(large!.characters - medium!.characters).toBe(medium!.characters - small!.characters);
  expect(large!.characters).toBeLessThan(3 * file(90).length);
});

test.each([
  ["brackets", "("],
  ["comments that do not end", "/*"],
  ["strings that do not end", "e'\\"],
  ["dollar quotes that do not end", "$a$ $b$"],
  ["quotes", "'"],
  ["operators", "+-*"],
  ["words", "a "],
])("a long row of %s costs twice as much when it is twice as long", (_what, part) => {
  const [one, two] = [1_000, 2_000].map((count) => workOf(() => semanticChecksum(part.repeat(count))));
  expect(two!.steps).toBeLessThanOrEqual(2 * one!.steps + 4);
  expect(two!.characters).toBeLessThanOrEqual(2 * one!.characters + 4);
});
