import { setTimeout as sleep } from "node:timers/promises";
import { cancelled } from "./cancellation.ts";

/**
 * Calls `attempt` until it returns something, at most until the deadline. `attempt` returns undefined while it is not
 * ready. An error that it throws ends the wait.
 *
 * @throws StateError when the user stops Pulumi meanwhile
 */
export async function until<T>(
  attempt: () => Promise<T | undefined>,
  { deadlineMs, everyMs = 100 }: { deadlineMs: number; everyMs?: number },
): Promise<T | undefined> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    cancelled.throwIfAborted();
    const value = await attempt();
    if (value !== undefined || Date.now() >= end) return value;
    await sleep(everyMs);
  }
}
