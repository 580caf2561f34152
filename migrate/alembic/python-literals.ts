/** The value of an assignment that only Python could tell. */
export const UNREADABLE = Symbol("unreadable");

/** A value that a revision file can hold: None, a text, or several texts. */
type Value = string | null | readonly string[] | typeof UNREADABLE;

/** A mark is one character, or a string that holds more than its text: f"…", b"…". */
interface Token {
  readonly kind: "name" | "text" | "mark";
  readonly text: string;
}

const BLANK = String.raw`(?<indent>^[ \t]+)|[ \t\f]+|\\\r?\n|#[^\n]*|(?<newline>\r?\n)`;
const LONG_STRING = String.raw`(?<long>"""|''')(?<longText>(?:\\[^]|[^\\])*?)\k<long>`;
const SHORT_STRING = String.raw`(?!"""|''')(?<short>["'])(?<shortText>(?:\\[^]|[^\\\n])*?)\k<short>`;
const NAME = String.raw`(?<name>[\p{L}_][\p{L}\p{N}_]*)`;
// A string without an end takes the rest of the source with it.
const MARK = `(?<mark>["'][^]*|[^])`;
const TOKEN = new RegExp(`${BLANK}|(?<prefix>[A-Za-z]{0,2})(?:${LONG_STRING}|${SHORT_STRING})|${NAME}|${MARK}`, "gmu");
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "\n": "" };

/**
 * Reads module-level assignments of constants from Python source, without running it.
 *
 * It knows strings (quotes of all kinds, adjacent ones, brackets around them), None, tuples, lists and sets,
 * annotations and comments. As in Python, the last assignment of a name holds.
 */
export function readAssignments(source: string, names: readonly string[]): Map<string, Value> {
  const values = new Map<string, Value>();
  for (const line of logicalLines(source)) {
    const [first, second] = line;
    if (first?.kind !== "name" || !names.includes(first.text)) continue;
    const equals = line.findIndex((token) => isMark(token, "="));
    if (isMark(second, "=:") && equals > 0) values.set(first.text, readValue(line.slice(equals + 1)));
  }
  return values;
}

/** Statements at the module's level, each as its tokens; a bracket or a backslash joins lines. */
function logicalLines(source: string): Token[][] {
  const lines: Token[][] = [];
  let line: Token[] = [];
  let depth = 0;
  let indented = false;
  const finish = () => {
    if (!indented) lines.push(line);
    line = [];
  };
  for (const { groups = {} } of source.replace(/^\uFEFF/, "").matchAll(TOKEN)) {
    const { indent, newline, prefix = "", longText, shortText, name, mark } = groups;
    const string = longText ?? shortText;
    if (indent !== undefined) indented ||= depth === 0 && line.length === 0;
    else if (newline !== undefined && depth === 0) {
      finish();
      indented = false;
    } else if (name !== undefined) line.push({ kind: "name", text: name });
    else if (string !== undefined) line.push(readString(string, prefix.toLowerCase()));
    else if (mark === ";" && depth === 0) finish();
    else if (mark !== undefined) {
      if ("([{".includes(mark)) depth++;
      if (")]}".includes(mark)) depth = Math.max(0, depth - 1);
      line.push({ kind: "mark", text: mark });
    }
  }
  finish();
  return lines;
}

function readString(text: string, prefix: string): Token {
  if (/[fb]/.test(prefix)) return { kind: "mark", text: `${prefix}""` };
  if (prefix.includes("r")) return { kind: "text", text };
  return { kind: "text", text: text.replaceAll(/\\([^])/g, (_, next: string) => SIMPLE_ESCAPES[next] ?? next) };
}

function isMark(token: Token | undefined, marks: string): boolean {
  return token?.kind === "mark" && marks.includes(token.text);
}

function readValue(tokens: readonly Token[]): Value {
  let at = 0;

  /** One value, or several with commas between them, up to a closing bracket or the end. */
  const readItems = (): Value => {
    const items: Value[] = [];
    let isSequence = false;
    while (at < tokens.length && !isMark(tokens[at], ")]}")) {
      items.push(readItem());
      if (!isMark(tokens[at], ",")) break;
      isSequence = true;
      at++;
    }
    if (items.length === 1 && !isSequence) return items[0] ?? null;
    const texts = items.filter((item) => typeof item === "string");
    return texts.length === items.length ? texts : UNREADABLE;
  };
  const readItem = (): Value => {
    const first = tokens[at];
    if (first?.kind === "text") {
      let text = "";
      // Adjacent strings are one.
      for (; tokens[at]?.kind === "text"; at++) text += tokens[at]?.text;
      return text;
    }
    if (first === undefined || !(isMark(first, "([{") || (first.kind === "name" && first.text === "None")))
      return UNREADABLE;
    at++;
    if (first.text === "None") return null;
    const inner = readItems();
    if (!isMark(tokens[at], ")]}")) return UNREADABLE;
    at++;
    if (inner === UNREADABLE || first.text === "(") return inner;
    return typeof inner === "string" ? [inner] : (inner ?? []);
  };

  const value = readItems();
  return at < tokens.length ? UNREADABLE : value;
}
