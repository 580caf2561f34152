import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeEach, vi } from "vitest";

/** Folders for a checkout, a home and a backend. A test file makes `checkout` the package's root by a mock. */
export const root = mkdtempSync(path.join(tmpdir(), "aiwdb-checkout-"));
export const checkout = path.join(root, "checkout");
export const home = path.join(root, "home");
export const backend = path.join(root, "backend");

/** Makes the folders, and an environment that names them, before every test. */
export function renewForEachTest(): void {
  beforeEach(() => {
    rmSync(root, { recursive: true, force: true });
    for (const folder of [checkout, home, backend]) mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(checkout, "Pulumi.yaml"), "name: ai-workflow-database\nruntime: nodejs\n");
    for (const name of ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"]) vi.stubEnv(name, undefined);
    vi.stubEnv("HOME", home);
    for (const name of ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"]) vi.stubEnv(name, undefined);
    vi.stubEnv("PULUMI_BACKEND_URL", `file://${backend}`);
  });
  afterAll(() => {
    vi.unstubAllEnvs();
    rmSync(root, { recursive: true, force: true });
  });
}

/** Writes the settings file of a stack. */
export const settingsFile = (stack: string, text: string) =>
  writeFileSync(path.join(checkout, `Pulumi.${stack}.yaml`), text);

/** The error that the work throws. */
export function thrown(
  work: () => unknown,
): Error & { problems?: readonly { subject: string; problem: string; remedy?: string }[] } {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}
