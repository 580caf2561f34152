import { createHash } from "node:crypto";

/*
 * One token of PostgreSQL 16 per match, by the rules of its own scanner
 * (https://github.com/postgres/postgres/blob/REL_16_STABLE/src/backend/parser/scan.l), as far as they decide where a token
 * begins and ends. Alternatives are in the order of how often they occur in a migration.
 */
const BLANK = String.raw`(?:[ \t\n\r\f]+|--[^\n\r]*)*`;
const WORD = String.raw`[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*`;
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

// A token and the blanks before it. What needs more than a regular expression is only announced by one: E'…' (it goes on after
// a line break), $tag$ (ends with its own tag), /* (nests).
const TOKEN = new RegExp(
  `${BLANK}(?:${[
    `(${STRING}|${QUOTED_IDENTIFIER}|(?![eE]')${WORD}|[(),;])`,
    `([eE]')`,
    String.raw`(\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$)`,
    String.raw`(/\*)`,
    `(${OPERATOR})`,
    String.raw`(${NUMBER}|\$\d+|::|:=|\.\.|[^])`,
  ].join("|")})`,
  "y",
);
const ESCAPE_STRING_BODY = /(?:[^'\\]|\\[^]|'')*'/y;
// A string that is followed by a line break and another quote goes on there, by its first part's escape rules.
const CONTINUATION = /(?:[ \t\f]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f]|--[^\n\r]*[\n\r])*'/y;
const COMMENT_EDGE = /\/\*|\*\//g;
const MAKES_TRAILING_SIGN_LEGAL = /[~!@#^&|`?%]/;

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

/** `=-` is two operators but `?-` is one: a sign ends an operator only beside a character that plain SQL has no operator for. */
function operatorLength(run: string): number {
  let length = run.length;
  if (length === 1 || MAKES_TRAILING_SIGN_LEGAL.test(run.slice(0, -1))) return length;
  while (length > 1 && (run[length - 1] === "+" || run[length - 1] === "-")) length--;
  return length;
}

/**
 * The tokens of SQL text, without comments and white space.
 *
 * The inside of a string or of a dollar-quoted body is one token, kept to the byte: PostgreSQL stores it. Text that ends
 * inside a string or comment gives its rest as one token; finding that error is the parser's task.
 */
export function sqlTokens(sql: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(sql); match; match = TOKEN.exec(sql)) {
    const whole = match[1] ?? match[6];
    if (whole !== undefined) {
      tokens.push(whole);
      continue;
    }
    const [, , escapeString, dollarQuote, blockComment, operator] = match;
    const begun = TOKEN.lastIndex;
    if (escapeString !== undefined) {
      TOKEN.lastIndex = readEscapeString(sql, begun, tokens);
    } else if (dollarQuote !== undefined) {
      const close = sql.indexOf(dollarQuote, begun);
      TOKEN.lastIndex = close < 0 ? sql.length : close + dollarQuote.length;
      tokens.push(sql.slice(begun - dollarQuote.length, TOKEN.lastIndex));
    } else if (blockComment !== undefined) {
      TOKEN.lastIndex = skipBlockComment(sql, begun - blockComment.length);
    } else if (operator !== undefined) {
      const length = operatorLength(operator);
      TOKEN.lastIndex = begun - operator.length + length;
      tokens.push(operator.slice(0, length));
    }
  }
  return tokens;
}

/** Adds the parts of the string whose opening `E'` ends at `begun`; gives the offset behind the last part. */
function readEscapeString(sql: string, begun: number, tokens: string[]): number {
  let start = begun - "E'".length;
  for (let body = begun; ;) {
    let end = matchAt(ESCAPE_STRING_BODY, sql, body);
    if (end < 0) end = sql.length;
    tokens.push(sql.slice(start, end));
    body = matchAt(CONTINUATION, sql, end);
    if (body < 0) return end;
    start = body - 1;
  }
}

/**
 * A checksum of what SQL text says: SHA-256, in hexadecimal, of its tokens.
 *
 * Comments and white space between tokens don't count; everything else does, including letter case and the text inside strings and
 * function bodies.
 */
export function semanticChecksum(sql: string): string {
  // No token holds a NUL, as PostgreSQL's text can't, so two different lists of tokens never join to the same text.
  return createHash("sha256").update(sqlTokens(sql).join("\0")).digest("hex");
}
