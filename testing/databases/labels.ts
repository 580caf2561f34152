/** Length of the longest label, in characters. */
export const LABEL_MAX = 200;

/**
 * Characters that PostgreSQL refuses in a text (NUL, halves of surrogate pairs), and characters that move the cursor of
 * a terminal or change the direction of its text.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

/** Whether a text may be stored and shown as it is. */
export function isPrintable(text: string): boolean {
  return !UNPRINTABLE.test(text);
}

/** Length in Unicode characters. JavaScript's `length` counts some of them twice. */
export function lengthOf(text: string): number {
  return [...text].length;
}

/** Makes a label of a test's name. It replaces what a label must not have, so that every test gets its database. */
export function labelOf(name: string): string {
  const shown = name.replaceAll(new RegExp(UNPRINTABLE, "gu"), "\ufffd");
  return lengthOf(shown) <= LABEL_MAX ? shown : `${[...shown].slice(0, LABEL_MAX - 1).join("")}…`;
}
