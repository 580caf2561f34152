/** Receives one line per step that takes longer than a moment. */
export type Report = (line: string) => void;

/** How this machine got a part, as `doctor` shows it. */
export type Way = "found" | "downloaded" | "built" | "installed" | "started";

/** No line says that a step is over which took less than this. */
const NOTICEABLE_MS = 2_000;

/** Does one step. Says what it is when it begins, and how long it took if that was noticeable. */
export async function step<T>(report: Report, what: string, action: () => Promise<T>): Promise<T> {
  report(what);
  const started = performance.now();
  const result = await action();
  const tookMs = performance.now() - started;
  if (tookMs >= NOTICEABLE_MS) report(`${what}: done in ${Math.round(tookMs / 1000)} s`);
  return result;
}

/**
 * Does one step that takes as long as there is data. Says how far it is after two seconds, and then each time that it
 * has taken twice as long.
 */
export async function sayingHowFar<T>(report: Report, howFar: () => string, action: () => Promise<T>): Promise<T> {
  let waitMs = NOTICEABLE_MS;
  let timer = setTimeout(function say() {
    report(howFar());
    timer = setTimeout(say, waitMs);
    waitMs *= 2;
  }, waitMs);
  try {
    return await action();
  } finally {
    clearTimeout(timer);
  }
}
