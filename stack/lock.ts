import path from "node:path";
import { StateError } from "../base/errors.ts";
import { type HeldLock, withLock } from "../base/lock.ts";
import { folders } from "../base/paths.ts";

/**
 * Runs what changes a stack while no other command of this user does. Pulumi's own lock begins only when it starts: what is
 * looked at before, such as objects that no state knows, may be what another run is just making.
 *
 * @param report takes a line while it is not clear yet whether another machine's command is at work
 * @throws StateError at once, naming the holder, when another command is at work on the stack
 */
export async function withStackLock<T>(
  stack: string,
  report: (line: string) => void,
  action: (lock: HeldLock) => Promise<T>,
): Promise<T> {
  return await withLock(path.join(folders().state, "locks", stack), action, {
    onWait: (holder) => {
      throw new StateError(`Stack "${stack}" is in use; nothing has been changed:`, [
        { subject: "lock", problem: `held by ${holder}`, remedy: "Wait until it has ended." },
      ]);
    },
    onDoubt: (holder) => report(`waiting to see whether ${holder} is still at work on stack ${stack}`),
  });
}
