import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { hasCode, messageOf } from "../base/errors.ts";
import { buildGoProgram, findBuilt, type GoProgram } from "./go/build.ts";
import { folders } from "../base/paths.ts";
import { step, type Report, type Way } from "../base/progress.ts";
import type { PulumiCli } from "./pulumi.ts";
import { reachable } from "./reachable.ts";
import { run } from "../base/run.ts";
import { dependencyVersion } from "../base/versions.ts";

/** The provider plugins that the program's resources need, at the versions of their npm packages. */
export interface Plugins {
  readonly way: Way;
  /** Variables that make the Pulumi CLI find them. */
  readonly env: Readonly<Record<string, string>>;
}

const NAMES = ["docker", "tls", "postgresql"] as const;
const INSTALL_TIMEOUT_MS = 5 * 60_000;

/** Version of each plugin that is needed, by its name. */
export function pluginVersions(): Record<string, string> {
  return Object.fromEntries(NAMES.map((name) => [name, dependencyVersion(`@pulumi/${name}`)]));
}

function userHome(): string {
  return process.env["PULUMI_HOME"] || join(homedir(), ".pulumi");
}

// Plugins of our own build carry the official ones' names, so they must not get into the user's own Pulumi folder.
const PRIVATE_HOME = "pulumi-home";

function goProgram(name: string, version: string): GoProgram {
  return {
    entry: `${PRIVATE_HOME}/plugins/resource-${name}-v${version}`,
    program: `pulumi-resource-${name}`,
    module: "providers",
    package: `./${name}`,
    version,
    versionVariable: "main.version",
  };
}

/**
 * Has Pulumi keep no logs in the private home. Pulumi would log every run there in full, up to 500 MB, and has no
 * setting against it. Nobody looks for logs in a cache, and writing them takes a tenth of a preview. Where a file has
 * the name of the folder of logs, Pulumi writes none.
 */
export function keepNoLogs(home: string): void {
  const logs = join(home, "logs");
  if (statSync(logs, { throwIfNoEntry: false })?.isFile()) return;
  try {
    // Another process may be logging into the folder of an earlier release.
    rmSync(logs, { recursive: true, force: true, maxRetries: 3 });
    writeFileSync(logs, "This file keeps Pulumi from logging every run.\n", { flag: "wx" });
  } catch (error) {
    // Another process was first, or the cache is read-only: then Pulumi's logs only cost time.
    if (!hasCode(error, "EEXIST", "ENOTEMPTY", "EACCES", "EPERM", "EROFS")) throw error;
  }
}

function built(): Plugins {
  const home = join(folders().cache, PRIVATE_HOME);
  keepNoLogs(home);
  return {
    way: "built",
    env: {
      PULUMI_HOME: home,
      // Logins to a state backend stay the user's.
      PULUMI_CREDENTIALS_PATH: process.env["PULUMI_CREDENTIALS_PATH"] ?? userHome(),
      // Something missing is to be reported at once, not after a download that can't work.
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
    },
  };
}

function isInstalled(name: string, version: string): boolean {
  const folder = join(userHome(), "plugins", `resource-${name}-v${version}`);
  // Beside a folder the CLI has not finished lies a file of this name.
  return existsSync(join(folder, `pulumi-resource-${name}`)) && !existsSync(`${folder}.partial`);
}

/**
 * The plugins if they are already here: official ones in the user's Pulumi folder, else those an earlier set-up built.
 */
export async function findPlugins(thorough = false): Promise<Plugins | undefined> {
  const needed = Object.entries(pluginVersions());
  if (needed.every(([name, version]) => isInstalled(name, version))) return { way: "found", env: {} };
  const entries = await Promise.all(needed.map(([name, version]) => findBuilt(goProgram(name, version), thorough)));
  return entries.every((entry) => entry !== undefined) ? built() : undefined;
}

async function download(cli: PulumiCli, report: Report): Promise<void> {
  const missing = Object.entries(pluginVersions()).filter(([name, version]) => !isInstalled(name, version));
  const env = { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
  const install = (name: string, version: string) =>
    run(cli.bin, ["plugin", "install", "resource", name, version], { env, timeoutMs: INSTALL_TIMEOUT_MS });
  const list = missing.map(([name, version]) => `${name} ${version}`).join(", ");
  await step(report, `provider plugins ${list}: downloading`, () =>
    Promise.all(missing.map(([name, version]) => install(name, version))),
  );
}

/**
 * The provider plugins: those that are here, else the official ones, else built from Go modules.
 *
 * @param cli resolves to the CLI that downloads; a build does not wait for it
 */
export async function ensurePlugins(cli: Promise<PulumiCli>, report: Report): Promise<Plugins> {
  const found = await findPlugins();
  if (found !== undefined) return found;
  if ((await reachable("pulumi")) && (await reachable("plugins"))) {
    try {
      await download(await cli, report);
      return { way: "downloaded", env: {} };
    } catch (error) {
      report(`provider plugins: the download failed, so they are built from Go modules. ${messageOf(error)}`);
    }
  }
  // One after the other: they share most of what is compiled.
  for (const [name, version] of Object.entries(pluginVersions()))
    await buildGoProgram(goProgram(name, version), report);
  return built();
}
