import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { messageOf } from "../base/errors.ts";
import { withLock } from "../base/lock.ts";
import { folders } from "../base/paths.ts";
import { run } from "../base/run.ts";
import { readIfThere } from "../base/text-file.ts";

function isDebian(): boolean {
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(readIfThere("/etc/os-release") ?? "");
}

/** Whether this process may install Debian packages. */
export function canInstallPackages(): boolean {
  return process.platform === "linux" && userInfo().uid === 0 && isDebian();
}

/**
 * Seconds that apt waits for another program that installs packages, such as a machine's own upgrade after its start.
 */
const LOCK_WAIT_SEC = 300;

/**
 * apt waits for the lock on packages by an option. For the lock on their lists it has none and gives up at once, so we
 * repeat.
 */
async function whenListsAreFree(work: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + LOCK_WAIT_SEC * 1_000;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if (!messageOf(error).includes("/lists/lock") || Date.now() > deadline) throw error;
      await wait(2_000);
    }
  }
}

/** Installs Debian packages. */
export async function installPackages(...packages: readonly string[]): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const waiting = ["-o", `DPkg::Lock::Timeout=${LOCK_WAIT_SEC}`];
  // Images are built side by side, and apt refuses to run twice.
  await withLock(join(folders().cache, ".locks/apt"), async () => {
    await whenListsAreFree(() => run("apt-get", [...waiting, "update"], { env }));
    await run("apt-get", [...waiting, "install", "--yes", "--no-install-recommends", ...packages], { env });
  });
}
