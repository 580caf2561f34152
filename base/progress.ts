/** Receives one line per step that takes longer than a moment. */
export type Report = (line: string) => void;

/** How a part was come by, as `doctor` shows it. */
export type Way = "found" | "downloaded" | "built" | "installed" | "started";

/** Steps shorter than this need no line that they are over. */
const NOTICEABLE_MS = 2_000;

/** Does one step: says what it is when it begins, and how long it took if that was noticeable. */
export async function step<T>(report: Report, what: string, action: () => Promise<T>): Promise<T> {
  report(what);
  const started = performance.now();
  const result = await action();
  const tookMs = performance.now() - started;
  if (tookMs >= NOTICEABLE_MS) report(`${what}: done in ${Math.round(tookMs / 1000)} s`);
  return result;
}
