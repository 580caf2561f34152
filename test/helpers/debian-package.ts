import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { withLock } from "../../base/lock.ts";
import { folders } from "../../base/paths.ts";
import { run } from "../../base/run.ts";
import { installPackages } from "../../toolchain/debian-packages.ts";

/**
 * Files of packages of this machine's Debian, in the user's cache folder. The packages are unpacked and not installed:
 * installing some of them would start a service. The first test that asks fetches them.
 *
 * @returns the folder that stands for `/`
 */
export async function unpackedPackages(...packages: readonly string[]): Promise<string> {
  const folder = path.join(folders().cache, `unpacked-${packages.join("+")}`);
  // Where apt is asked for packages by several at once, it refuses.
  await withLock(path.join(folders().cache, ".locks/apt"), async () => {
    if (existsSync(folder)) return;
    mkdirSync(folders().cache, { recursive: true });
    const half = mkdtempSync(`${folder}.`);
    try {
      const download = () => run("apt-get", ["download", "--quiet", ...packages], { cwd: half });
      // A machine that has not installed anything yet has no lists of packages, or old ones.
      await download().catch(async () => {
        await run("apt-get", ["update"]);
        await download();
      });
      for (const file of readdirSync(half)) {
        await run("dpkg-deb", ["--extract", path.join(half, file), half]);
        rmSync(path.join(half, file));
      }
      renameSync(half, folder);
    } finally {
      rmSync(half, { recursive: true, force: true });
    }
  });
  return folder;
}

/** Installs packages, unless a command shows that what they bring is there. */
export async function installUnless(command: string, ...packages: readonly string[]): Promise<void> {
  await run("sh", ["-c", command]).catch(() => installPackages(...packages));
}
