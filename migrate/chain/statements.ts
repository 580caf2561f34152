import { tokenBounds } from "./lexer.ts";

/** One statement of a file. */
export interface Statement {
  /** Its text, without the comments before it and the semicolon. */
  readonly text: string;
  /** Where it begins and ends in the file, in UTF-16 units as JavaScript counts. */
  readonly start: number;
  readonly end: number;
}

/**
 * The statements of a file, split as PostgreSQL splits a query of several.
 *
 * Semicolons in brackets (rules) and in the body of an SQL-standard function (`begin atomic … end`) end nothing.
 */
export function splitStatements(sql: string): Statement[] {
  const statements: Statement[] = [];
  const bounds = tokenBounds(sql);
  let first = -1;
  let last = -1;
  let brackets = 0;
  // `begin` and `case` opened in a function's body and not yet closed by `end`.
  let blocks = 0;
  let previous = "";
  const finish = () => {
    if (first >= 0) statements.push({ text: sql.slice(first, last), start: first, end: last });
    first = -1;
    brackets = 0;
    blocks = 0;
  };
  for (let index = 0; index < bounds.length; index += 2) {
    const start = bounds[index] ?? 0;
    const end = bounds[index + 1] ?? start;
    const token = end - start > 6 ? "" : sql.slice(start, end).toLowerCase();
    if (token === ";" && brackets <= 0 && blocks === 0) {
      finish();
      previous = "";
      continue;
    }
    if (first < 0) first = start;
    last = end;
    if (token === "(") brackets++;
    else if (token === ")") brackets--;
    else if (token === "atomic" && previous === "begin") blocks++;
    else if (blocks > 0 && token === "case") blocks++;
    else if (blocks > 0 && token === "end") blocks--;
    previous = token;
  }
  finish();
  return statements;
}

/** The line of a place in text, from 1. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** The column of a place in text, from 1. */
export function columnAt(text: string, offset: number): number {
  return offset - text.lastIndexOf("\n", offset - 1);
}

/** Turns a position as PostgreSQL gives it (characters, from 1) into an offset in a JavaScript string. */
export function offsetOfPosition(text: string, position: number): number {
  let offset = 0;
  for (let left = position - 1; left > 0 && offset < text.length; left--) {
    offset += (text.codePointAt(offset) ?? 0) > 0xff_ff ? 2 : 1;
  }
  return offset;
}
