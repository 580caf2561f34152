/*
 * Tells the words of SQL text from its comments and white space, by the rules of PostgreSQL 16's own scanner
 * (https://github.com/postgres/postgres/blob/REL_16_STABLE/src/backend/parser/scan.l).
 *
 * Databases hold checksums of these tokens: where a token begins and ends must never change.
 * docs/adr/0014-sql-parsing.md says why this is not libpg-query's task.
 *
 * Words, blanks and brackets, nearly all of a migration, are read by character code, and the rest by one regular
 * expression. The expression alone would take twice as long, and every preview reads every file.
 */
const OTHER = 0;
const BLANK = 1;
const WORD_START = 2;
const WORD_PART = 3;
const PUNCTUATION = 4;
const classes = new Uint8Array(128);
const classify = (characters: string, kind: number) => {
  for (const character of characters) classes[character.charCodeAt(0)] = kind;
};
const LETTERS = "abcdefghijklmnopqrstuvwxyz";
classify(" \t\n\r\f", BLANK);
classify(`${LETTERS}${LETTERS.toUpperCase()}_`, WORD_START);
classify("0123456789$", WORD_PART);
classify("(),;[]", PUNCTUATION);

const LINE_COMMENT = String.raw`--[^\n\r]*`;
const QUOTED_IDENTIFIER = String.raw`(?:[uU]&)?"(?:[^"]|"")*"`;
const STRING = String.raw`(?:[uU]&|[bBxXnN])?'(?:[^']|'')*'`;
const OPERATOR = "(?:(?!--|/\\*)[~!@#^&|`?+\\-*/%<>=])+";
const INTEGER = String.raw`\d(?:_?\d)*`;
const NUMBER = [
  String.raw`0[xX](?:_?[\da-fA-F])+`,
  "0[oO](?:_?[0-7])+",
  "0[bB](?:_?[01])+",
  // `1..10` is an integer, two dots and an integer (PL/pgSQL's loops), not the number `1.` and `.10`.
  String.raw`(?:${INTEGER}(?:\.(?!\.)(?:${INTEGER})?)?|\.${INTEGER})(?:[eE][+-]?${INTEGER})?`,
].join("|");

// A regular expression can't read three kinds of token to their end, so it only finds their beginning: E'…' (continues
// after a line break), $tag$ (ends with its own tag) and /* (nests). One letter alone is a word, not a prefix.
const TOKEN = new RegExp(
  [
    `(${LINE_COMMENT})`,
    `([eE]')`,
    String.raw`(\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$)`,
    String.raw`(/\*)`,
    `(${OPERATOR})`,
    `${STRING}|${QUOTED_IDENTIFIER}|${NUMBER}`,
    String.raw`\$\d+|::|:=|\.\.|[^]`,
  ].join("|"),
  "y",
);
const ESCAPE_STRING_BODY = /(?:[^'\\]|\\[^]|'')*'/y;
// A string continues if a line break and another quote follow. The escape rules of its first part hold on.
const CONTINUATION = /(?:[ \t\f]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f]|--[^\n\r]*[\n\r])*'/y;
const COMMENT_EDGE = /\/\*|\*\//g;
const MAKES_TRAILING_SIGN_LEGAL = /[~!@#^&|`?%]/;

function classOf(code: number): number {
  // Everything beyond ASCII is a letter to PostgreSQL.
  return code < 128 ? (classes[code] ?? OTHER) : WORD_START;
}

/** Matches at an offset; the offset behind the match, or -1. */
function matchAt(pattern: RegExp, sql: string, offset: number): number {
  pattern.lastIndex = offset;
  return pattern.test(sql) ? pattern.lastIndex : -1;
}

/** The offset behind the comment that begins at `start`; comments nest. */
function skipBlockComment(sql: string, start: number): number {
  let depth = 0;
  COMMENT_EDGE.lastIndex = start;
  for (;;) {
    const edge = COMMENT_EDGE.exec(sql);
    if (!edge) return sql.length;
    depth += edge[0] === "/*" ? 1 : -1;
    if (depth === 0) return COMMENT_EDGE.lastIndex;
  }
}

/**
 * The length of the first operator in a run of operator characters.
 *
 * An operator may end in + or - only if it also has one of ~ ! @ # ^ & | ` ? %. So `?-` is one operator, and `=-` two.
 */
function operatorLength(run: string): number {
  let length = run.length;
  if (length === 1 || MAKES_TRAILING_SIGN_LEGAL.test(run.slice(0, -1))) return length;
  while (length > 1 && (run[length - 1] === "+" || run[length - 1] === "-")) length--;
  return length;
}

/**
 * Offsets at which the tokens of SQL text begin and end: start, end, start, end, … Comments and blanks are left out.
 *
 * A string is one token, and so is a dollar-quoted body. If the text ends inside a string, the rest is one token. If it
 * ends inside a comment, the rest is none. The parser reports such errors.
 */
export function tokenBounds(sql: string): number[] {
  const bounds: number[] = [];
  for (let offset = 0; offset < sql.length;) {
    const kind = classOf(sql.charCodeAt(offset));
    if (kind === BLANK) {
      offset++;
    } else if (kind === PUNCTUATION) {
      bounds.push(offset, ++offset);
    } else if (kind === WORD_START && !isPrefix(sql, offset)) {
      const end = endOfWord(sql, offset);
      bounds.push(offset, end);
      offset = end;
    } else {
      offset = readRareToken(sql, offset, bounds);
    }
  }
  return bounds;
}

/** The tokens of SQL text, as they are written. */
export function sqlTokens(sql: string): string[] {
  const bounds = tokenBounds(sql);
  const tokens: string[] = [];
  for (let index = 0; index < bounds.length; index += 2) tokens.push(sql.slice(bounds[index], bounds[index + 1]));
  return tokens;
}

function endOfWord(sql: string, start: number): number {
  let end = start + 1;
  while (end < sql.length) {
    const kind = classOf(sql.charCodeAt(end));
    if (kind !== WORD_START && kind !== WORD_PART) break;
    end++;
  }
  return end;
}

const QUOTE = "'".charCodeAt(0);
const AMPERSAND = "&".charCodeAt(0);

/** Whether a letter stands before a quote and so may belong to it: E'…', U&"…". */
function isPrefix(sql: string, offset: number): boolean {
  const next = sql.charCodeAt(offset + 1);
  return next === QUOTE || next === AMPERSAND;
}

/** Adds the token at `start`, if it is not a comment; gives the offset behind it. */
function readRareToken(sql: string, start: number, bounds: number[]): number {
  TOKEN.lastIndex = start;
  const match = TOKEN.exec(sql);
  if (!match) return sql.length;
  const [, lineComment, escapeString, dollarQuote, blockComment, operator] = match;
  const begun = TOKEN.lastIndex;
  if (lineComment !== undefined) return begun;
  if (blockComment !== undefined) return skipBlockComment(sql, start);
  if (escapeString !== undefined) return readEscapeString(sql, begun, bounds);
  let end = begun;
  if (dollarQuote !== undefined) {
    const close = sql.indexOf(dollarQuote, begun);
    end = close < 0 ? sql.length : close + dollarQuote.length;
  } else if (operator !== undefined) {
    end = start + operatorLength(operator);
  }
  bounds.push(start, end);
  return end;
}

/** Adds the parts of the string whose opening `E'` ends at `begun`; gives the offset behind the last part. */
function readEscapeString(sql: string, begun: number, bounds: number[]): number {
  let start = begun - "E'".length;
  for (let body = begun; ;) {
    let end = matchAt(ESCAPE_STRING_BODY, sql, body);
    if (end < 0) end = sql.length;
    bounds.push(start, end);
    body = matchAt(CONTINUATION, sql, end);
    if (body < 0) return end;
    start = body - 1;
  }
}
