/** A value that a revision file can hold: None, a text, or several texts. */
export type PythonValue = string | null | readonly string[];

/** An assignment that is there, but whose value only Python could tell. */
export const UNREADABLE = Symbol("unreadable");

type Token =
  | { readonly kind: "name" | "other"; readonly text: string }
  | { readonly kind: "string"; readonly text: string; readonly plain: boolean }
  | { readonly kind: "newline" };

const TOKEN =
  /(?<blank>[ \t\f]+|\\\r?\n|#[^\n]*)|(?<newline>\r?\n)|(?<prefix>[A-Za-z]{0,2})(?<quote>"""|'''|"|')|(?<name>[\p{L}_][\p{L}\p{N}_]*)|(?<other>[^])/uy;
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "\n": "" };

/**
 * Module-level assignments of constants in Python source, found without running it.
 *
 * Knows strings (quotes of all kinds, adjacent ones, brackets around them), None, tuples, lists and sets, annotations
 * and comments. As in Python, the last assignment of a name holds.
 */
export function readAssignments(
  source: string,
  names: readonly string[],
): Map<string, PythonValue | typeof UNREADABLE> {
  const values = new Map<string, PythonValue | typeof UNREADABLE>();
  for (const line of logicalLines(source)) {
    const [first, second] = line;
    if (first?.kind !== "name" || !names.includes(first.text)) continue;
    const isAssignment = second?.kind === "other" && (second.text === "=" || second.text === ":");
    const equals = line.findIndex((token) => token.kind === "other" && token.text === "=");
    if (isAssignment && equals > 0) values.set(first.text, readValue(line.slice(equals + 1)));
  }
  return values;
}

/** Statements at the module's level, each as its tokens; a bracket or a backslash joins lines. */
function logicalLines(source: string): Token[][] {
  const lines: Token[][] = [];
  let line: Token[] = [];
  let depth = 0;
  let indented = false;
  let atStart = true;
  const finish = () => {
    if (line.length > 0 && !indented) lines.push(line);
    line = [];
    atStart = true;
    indented = false;
  };
  for (let offset = source.startsWith("\uFEFF") ? 1 : 0; offset < source.length;) {
    TOKEN.lastIndex = offset;
    const groups = TOKEN.exec(source)?.groups;
    if (!groups) break;
    offset = TOKEN.lastIndex;
    if (groups["blank"] !== undefined) {
      if (atStart && /[ \t]/.test(groups["blank"][0] ?? "")) indented = true;
      continue;
    }
    if (groups["newline"] !== undefined) {
      if (depth === 0) finish();
      continue;
    }
    atStart = false;
    if (groups["quote"] !== undefined) {
      const string = readString(source, offset, groups["quote"], (groups["prefix"] ?? "").toLowerCase());
      line.push(string.token);
      offset = string.end;
    } else if (groups["name"] !== undefined) {
      line.push({ kind: "name", text: groups["name"] });
    } else {
      const text = groups["other"] ?? "";
      if ("([{".includes(text)) depth++;
      else if (")]}".includes(text)) depth = Math.max(0, depth - 1);
      if (text === ";" && depth === 0) {
        const wasIndented: boolean = indented;
        finish();
        indented = wasIndented;
        atStart = false;
      } else line.push({ kind: "other", text });
    }
  }
  finish();
  return lines;
}

function readString(source: string, start: number, quote: string, prefix: string): { token: Token; end: number } {
  let text = "";
  for (let at = start; at < source.length; at++) {
    if (source.startsWith(quote, at)) {
      return { token: { kind: "string", text, plain: !/[fb]/.test(prefix) }, end: at + quote.length };
    }
    const character = source.charAt(at);
    if (character === "\n" && quote.length === 1) break;
    if (character === "\\") {
      const next = source.charAt(++at);
      text += prefix.includes("r") ? `\\${next}` : (SIMPLE_ESCAPES[next] ?? next);
    } else text += character;
  }
  return { token: { kind: "string", text, plain: false }, end: source.length };
}

const isMark = (token: Token | undefined, marks: string) => token?.kind === "other" && marks.includes(token.text);

function readValue(tokens: readonly Token[]): PythonValue | typeof UNREADABLE {
  const reader = { tokens, at: 0 };
  const value = readItems(reader);
  return reader.at < tokens.length ? UNREADABLE : value;
}

interface Reader {
  readonly tokens: readonly Token[];
  at: number;
}

/** One value, or several with commas between them, up to a closing bracket or the end. */
function readItems(reader: Reader): PythonValue | typeof UNREADABLE {
  const items: (PythonValue | typeof UNREADABLE)[] = [];
  let isSequence = false;
  while (reader.at < reader.tokens.length && !isMark(reader.tokens[reader.at], ")]}")) {
    items.push(readItem(reader));
    if (items.at(-1) === UNREADABLE) return UNREADABLE;
    if (!isMark(reader.tokens[reader.at], ",")) break;
    isSequence = true;
    reader.at++;
  }
  if (items.length === 1 && !isSequence) return items[0] ?? null;
  const texts = items.filter((item) => typeof item === "string");
  return texts.length === items.length ? texts : UNREADABLE;
}

function readItem(reader: Reader): PythonValue | typeof UNREADABLE {
  const token = reader.tokens[reader.at];
  if (token?.kind === "string") {
    let text = "";
    let plain = true;
    // Adjacent strings are one.
    for (let part: Token | undefined = token; part?.kind === "string"; part = reader.tokens[++reader.at]) {
      text += part.text;
      plain &&= part.plain;
    }
    return plain ? text : UNREADABLE;
  }
  if (token?.kind === "name" && token.text === "None") {
    reader.at++;
    return null;
  }
  if (token?.kind !== "other" || !"([{".includes(token.text)) return UNREADABLE;
  reader.at++;
  const inner = readItems(reader);
  if (!isMark(reader.tokens[reader.at], ")]}")) return UNREADABLE;
  reader.at++;
  if (inner === UNREADABLE || token.text === "(") return inner === null && isEmptyTuple(reader) ? [] : inner;
  return typeof inner === "string" ? [inner] : (inner ?? []);
}

/** `()` holds nothing, while `(None)` is None. */
function isEmptyTuple(reader: Reader): boolean {
  return isMark(reader.tokens[reader.at - 2], "(");
}
