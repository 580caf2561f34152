import path from "node:path";
import { type HeldLock, withLock } from "../base/lock.ts";
import { folders } from "../base/paths.ts";
import type { Report } from "../base/progress.ts";
import { inUse } from "./refusal.ts";

/**
 * Runs an action that changes a stack while no other command of this user changes it. Pulumi's own lock begins only
 * when Pulumi starts. Objects that no state knows before that may be those that another run is making.
 *
 * @param report takes a line while it is not clear yet whether a command on another machine is at work
 * @throws StateError at once, naming the holder, when another command is at work on the stack
 */
export async function withStackLock<T>(
  stack: string,
  report: Report,
  action: (lock: HeldLock) => Promise<T>,
): Promise<T> {
  return await withLock(path.join(folders().state, "locks", stack), action, {
    onWait: (holder) => {
      throw inUse(stack, `held by ${holder}`, "Wait until it has ended.");
    },
    onDoubt: (holder) => report(`waiting to see whether ${holder} is still at work on stack ${stack}`),
  });
}
