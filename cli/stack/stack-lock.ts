import path from "node:path";
import { StateError } from "../../toolchain/errors.ts";
import { withLock } from "../../toolchain/lock.ts";
import { folders } from "../../toolchain/paths.ts";

/**
 * Runs what changes a stack while no other command of this user does. Pulumi's own lock begins only when it starts: what is
 * looked at before, such as objects that no state knows, may be what another run is just making.
 *
 * @throws StateError at once, naming the holder, when another command is at work on the stack
 */
export async function withStackLock<T>(stack: string, action: () => Promise<T>): Promise<T> {
  return await withLock(path.join(folders().state, "locks", `${stack}.lock`), action, (pid, since) => {
    throw new StateError(`Stack "${stack}" is in use; nothing has been changed:`, [
      { subject: "lock", problem: `held by process ${pid} since ${since}`, remedy: "Wait until it has ended." },
    ]);
  });
}
