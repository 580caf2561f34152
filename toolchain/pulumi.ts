import { linkSync, readFileSync, realpathSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cached, findCached, type CacheEntry } from "./cache.ts";
import { replaceFile } from "../base/text-file.ts";
import { messageOf } from "../base/errors.ts";
import { buildGoProgram, findBuilt, type GoProgram } from "./go/build.ts";
import { folders, privateFolder } from "../base/paths.ts";
import { step, type Report, type Way } from "../base/progress.ts";
import { reachable } from "./reachable.ts";
import { readRecord, writeRecord } from "./record.ts";
import { findPrograms, run } from "../base/run.ts";
import { atLeast, dependencyVersion, versions } from "../base/versions.ts";

/** A Pulumi command-line program that can run this package's programs. */
export interface PulumiCli {
  readonly bin: string;
  readonly version: string;
  readonly way: Way;
  /** Folders a child needs first on PATH: the CLI's own and its language host's. */
  readonly path: readonly string[];
}

const LANGUAGE_HOST = "pulumi-language-nodejs";
const VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version";
const DOWNLOAD_TIMEOUT_MS = 10 * 60_000;

const { cli: builtCli, languageHost: builtLanguageHost } = versions.pulumi.built;

const CLI: GoProgram = {
  entry: "pulumi-cli",
  program: "pulumi",
  module: "cli",
  package: `${builtCli.module}/cmd/pulumi`,
  version: `v${builtCli.version}`,
  versionVariable: VERSION_VARIABLE,
};

const NODE_LANGUAGE_HOST: GoProgram = {
  entry: "pulumi-language-nodejs",
  program: LANGUAGE_HOST,
  module: "language-nodejs",
  package: `${builtLanguageHost.module}/nodejs/cmd/${LANGUAGE_HOST}`,
  version: `v${builtLanguageHost.version}`,
  versionVariable: VERSION_VARIABLE,
};

/** Asks a program for its version; the answer is kept as long as the file is the same, since asking takes a while. */
async function versionOf(bin: string): Promise<string> {
  const { mtimeMs, size } = statSync(bin);
  const file = `${bin} ${size} ${mtimeMs}`;
  const known = readRecord<{ file: string; version: string }>("pulumi-on-path");
  if (known?.file === file) return known.version;
  const env = { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
  const version = (await run(bin, ["version"], { timeoutMs: 10_000, env })).trim();
  writeRecord("pulumi-on-path", { file, version });
  return version;
}

async function findOnPath(report: Report): Promise<PulumiCli | undefined> {
  for (const candidate of findPrograms("pulumi")) {
    const bin = realpathSync(candidate);
    // npm puts its package's downloader on PATH under the same name; a command run by another one has our own there.
    if (bin.includes("/node_modules/") || bin.startsWith(realpathSync(privateFolder(folders().cache)))) continue;
    const languageHost = [join(dirname(bin), LANGUAGE_HOST), ...findPrograms(LANGUAGE_HOST)].find((path) =>
      statSync(path, { throwIfNoEntry: false })?.isFile(),
    );
    if (languageHost === undefined) continue;
    try {
      const version = await versionOf(bin);
      if (atLeast(version, versions.pulumi.minimum)) {
        return { bin, version, way: "found", path: [dirname(bin), dirname(languageHost)] };
      }
      report(`Pulumi ${version} on PATH is older than ${versions.pulumi.minimum}: not used`);
    } catch (error) {
      report(`${bin} can't be used: ${messageOf(error)}`);
    }
  }
  return undefined;
}

function downloadEntry(version: string): CacheEntry {
  return { name: "pulumi-download", key: `${version} ${process.platform} ${process.arch}` };
}

function downloadedIn(folder: string, version: string): PulumiCli {
  const path = join(folder, "versions", version, "bin");
  return { bin: join(path, "pulumi"), version: `v${version}`, way: "downloaded", path: [path] };
}

/** The npm package downloads the release when it is first run, below PULUMI_HOME; .npmrc keeps npm from running it. */
async function download(version: string, report: Report): Promise<PulumiCli> {
  const folder = await cached(downloadEntry(version), async (target) => {
    const env = { ...process.env, PULUMI_HOME: target, PULUMI_VERSION: version, PULUMI_SKIP_UPDATE_CHECK: "true" };
    const installer = fileURLToPath(import.meta.resolve("pulumi/run.js"));
    await step(report, `Pulumi ${version}: downloading`, () =>
      run(process.execPath, [installer, "version"], { env, timeoutMs: DOWNLOAD_TIMEOUT_MS }),
    );
  });
  return downloadedIn(folder, version);
}

/**
 * Puts both programs into one folder. The CLI trusts a language host that lies beside it, and warns of one that it
 * finds on PATH.
 */
function builtIn(cliFolder: string, languageHostFolder: string): PulumiCli {
  const folder = privateFolder(folders().cache, "pulumi-bin");
  linkInto(folder, join(cliFolder, "pulumi"));
  writeStarter(join(folder, LANGUAGE_HOST), join(languageHostFolder, LANGUAGE_HOST));
  return { bin: join(folder, "pulumi"), version: CLI.version, way: "built", path: [folder] };
}

function linkInto(folder: string, program: string): void {
  const link = join(folder, basename(program));
  if (statSync(link, { throwIfNoEntry: false })?.ino === statSync(program).ino) return;
  const temporary = `${link}.${process.pid}`;
  linkSync(program, temporary);
  renameSync(temporary, link);
}

/**
 * Writes a script that starts the built language host with `-typescript=false`. That language host does not read the
 * setting from Pulumi.yaml, and today's CLI does not pass it on. Without the option every run would load a compiler
 * that it does not need.
 */
function writeStarter(file: string, program: string): void {
  const text = `#!/bin/sh\nexec '${program.replaceAll("'", `'\\''`)}' -typescript=false "$@"\n`;
  if (statSync(file, { throwIfNoEntry: false })?.size === text.length && readFileSync(file, "utf8") === text) return;
  replaceFile(file, text, 0o755);
}

async function findBuiltCli(thorough: boolean): Promise<PulumiCli | undefined> {
  const [cli, languageHost] = await Promise.all([findBuilt(CLI, thorough), findBuilt(NODE_LANGUAGE_HOST, thorough)]);
  return cli !== undefined && languageHost !== undefined ? builtIn(cli, languageHost) : undefined;
}

/** The Pulumi CLI if it is already here: on PATH and new enough, else what an earlier set-up downloaded or built. */
export async function findPulumiCli(report: Report, thorough = false): Promise<PulumiCli | undefined> {
  const onPath = await findOnPath(report);
  if (onPath !== undefined) return onPath;
  const version = dependencyVersion("pulumi");
  const folder = await findCached(downloadEntry(version), { thorough });
  return folder === undefined ? await findBuiltCli(thorough) : downloadedIn(folder, version);
}

/** The Pulumi CLI: the one that is here, else downloaded, else built from Go modules. */
export async function ensurePulumiCli(report: Report): Promise<PulumiCli> {
  const found = await findPulumiCli(report);
  if (found !== undefined) return found;
  if (await reachable("pulumi")) {
    try {
      return await download(dependencyVersion("pulumi"), report);
    } catch (error) {
      report(`Pulumi: the download failed, so it is built from Go modules. ${messageOf(error)}`);
    }
  }
  const cli = await buildGoProgram(CLI, report);
  return builtIn(cli, await buildGoProgram(NODE_LANGUAGE_HOST, report));
}
