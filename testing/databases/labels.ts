/** Longest label, in characters. */
export const LABEL_MAX = 200;

/** What PostgreSQL's text does not take (NUL, halves of surrogate pairs), and what moves or turns a terminal's text. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

/** Whether a text may be stored and shown as it is. */
export function isPrintable(text: string): boolean {
  return !UNPRINTABLE.test(text);
}

/** Length in characters, as people and other languages count them. */
export function lengthOf(text: string): number {
  return [...text].length;
}

/** A test's name as a label: it never keeps a test from getting its database. */
export function labelOf(name: string): string {
  const shown = name.replaceAll(new RegExp(UNPRINTABLE, "gu"), "\ufffd");
  return lengthOf(shown) <= LABEL_MAX ? shown : `${[...shown].slice(0, LABEL_MAX - 1).join("")}…`;
}
