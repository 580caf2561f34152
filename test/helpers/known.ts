/** What a status has found. Fails if it could not look. */
export function known<T>(found: T | "unknown"): T {
  if (found === "unknown") throw new Error("the status could not look");
  return found;
}
