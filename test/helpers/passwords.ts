/** Every printable ASCII character, the space first. */
export const PRINTABLE = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("");

/** Letters and digits in an order that occurs nowhere else. */
const scrambled = (text: string) => [...text].map((_, index) => text[(index * 7) % text.length]).join("");
const RING = PRINTABLE.replaceAll(/[A-Za-z0-9]/g, "") + scrambled(PRINTABLE.replaceAll(/[^A-Za-z0-9]/g, ""));

/** A password that has every printable character once and begins with `first`. */
export function printablePassword(first: string): string {
  const index = RING.indexOf(first);
  return RING.slice(index) + RING.slice(0, index);
}

/** The longest run of letters and digits in a text: no escaping changes it. */
export function markOf(text: string): string {
  return (text.match(/[A-Za-z0-9]+/g) ?? []).toSorted((a, b) => b.length - a.length)[0] ?? "";
}
