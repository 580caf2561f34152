/** What a status has found; fails where nobody could look. */
export function known<T>(found: T | "unknown"): T {
  if (found === "unknown") throw new Error("the status could not look");
  return found;
}
