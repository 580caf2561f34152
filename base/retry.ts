import { setTimeout as sleep } from "node:timers/promises";

/**
 * Calls `attempt` until it returns something, at most until the deadline. `attempt` returns undefined while it is not
 * ready. An error that it throws ends the wait.
 *
 * @param signal ends the waiting; its reason is thrown
 */
export async function until<T>(
  attempt: () => Promise<T | undefined>,
  { deadlineMs, everyMs = 100, signal }: { deadlineMs: number; everyMs?: number; signal?: AbortSignal | undefined },
): Promise<T | undefined> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    signal?.throwIfAborted();
    const value = await attempt();
    if (value !== undefined || Date.now() >= end) return value;
    await sleep(everyMs);
  }
}
