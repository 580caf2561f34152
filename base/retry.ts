import { setTimeout as sleep } from "node:timers/promises";

/**
 * Calls `attempt` until it returns something, at most until the deadline. `attempt` returns undefined while it is not
 * ready. An error that it throws ends the wait.
 *
 * @param deadlineMs how long it is called, in milliseconds
 * @param everyMs time between two calls, in milliseconds. @default 100
 * @param signal ends the waiting; its reason is thrown
 * @returns what the last call returned
 */
export async function until<T>(
  attempt: () => Promise<T> | T,
  { deadlineMs, everyMs = 100, signal }: { deadlineMs: number; everyMs?: number; signal?: AbortSignal | undefined },
): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    signal?.throwIfAborted();
    const value = await attempt();
    if (value !== undefined || Date.now() >= end) return value;
    await sleep(everyMs);
  }
}
