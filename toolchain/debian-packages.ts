import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { withLock } from "./lock.ts";
import { folders } from "./paths.ts";
import { run } from "./run.ts";

function isDebian(): boolean {
  try {
    return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(readFileSync("/etc/os-release", "utf8"));
  } catch {
    return false;
  }
}

/** Whether this process may install Debian packages. */
export function canInstallPackages(): boolean {
  return process.platform === "linux" && userInfo().uid === 0 && isDebian();
}

/** Seconds that apt waits for another program that installs packages, such as a machine's own upgrade after its start. */
const LOCK_WAIT_SEC = 300;

/** Installs Debian packages. */
export async function installPackages(...packages: readonly string[]): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const waiting = ["-o", `DPkg::Lock::Timeout=${LOCK_WAIT_SEC}`];
  // Images are built side by side, and apt refuses to run twice.
  await withLock(join(folders().cache, ".locks/apt"), async () => {
    await run("apt-get", [...waiting, "update"], { env });
    await run("apt-get", [...waiting, "install", "--yes", "--no-install-recommends", ...packages], { env });
  });
}
