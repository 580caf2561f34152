import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, mkdir, readdir, readFile, readlink, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { processStart, withLock } from "./lock.ts";
import { folders, privateFolder } from "./paths.ts";

/** Lies inside the entry, so that one rename publishes both. */
const CHECKSUMS = ".checksums.json";

interface FileRecord {
  sha256: string;
  size: number;
  mtimeMs: number;
}

interface Checksums {
  /** What the entry was built from; another key means another entry. */
  key: string;
  files: Record<string, FileRecord>;
}

/** A folder in the cache that is either whole or not there. */
export interface CacheEntry {
  /** Path below the cache folder. */
  readonly name: string;
  /** Everything that decides the content: versions, hashes of sources. A changed key rebuilds the entry. */
  readonly key: string;
}

export interface CacheOptions {
  /** @default the user's cache folder */
  readonly root?: string;
  /** Called if another process is building the same entry. */
  readonly onWait?: (pid: number) => void;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

async function describe(path: string): Promise<FileRecord> {
  const info = await lstat(path);
  const digest = info.isSymbolicLink()
    ? createHash("sha256")
        .update(await readlink(path))
        .digest("hex")
    : await sha256(path);
  return { sha256: digest, size: info.size, mtimeMs: info.mtimeMs };
}

async function describeAll(folder: string): Promise<Record<string, FileRecord>> {
  const files: Record<string, FileRecord> = {};
  for (const item of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(item.parentPath, item.name);
    if (!item.isDirectory()) files[relative(folder, path)] = await describe(path);
  }
  return files;
}

async function readChecksums(folder: string): Promise<Checksums | undefined> {
  try {
    return JSON.parse(await readFile(join(folder, CHECKSUMS), "utf8")) as Checksums;
  } catch {
    return undefined;
  }
}

async function isWhole(folder: string, key: string, thorough: boolean): Promise<boolean> {
  const checksums = await readChecksums(folder);
  if (checksums?.key !== key) return false;
  const checks = Object.entries(checksums.files).map(async ([name, record]) => {
    const path = join(folder, name);
    const info = await lstat(path);
    if (info.size !== record.size) return false;
    // Hashing hundreds of megabytes at every command would cost seconds; an untouched file need not be read.
    if (!thorough && info.mtimeMs === record.mtimeMs) return true;
    return (await describe(path)).sha256 === record.sha256;
  });
  return (await Promise.all(checks).catch(() => [false])).every(Boolean);
}

/**
 * The entry's folder if it is whole.
 *
 * @param thorough compare every checksum, not only sizes and times
 */
export async function findCached(
  entry: CacheEntry,
  options: CacheOptions & { thorough?: boolean } = {},
): Promise<string | undefined> {
  const folder = join(options.root ?? folders().cache, entry.name);
  return (await isWhole(folder, entry.key, options.thorough ?? false)) ? folder : undefined;
}

/** Removes what killed builds left behind; running builds are told by their process number. */
async function removeLeftovers(temporary: string): Promise<void> {
  for (const name of await readdir(temporary)) {
    const pid = Number(/^(\d+)-/.exec(name)?.[1]);
    if (!(pid > 0) || processStart(pid) === undefined)
      await rm(join(temporary, name), { recursive: true, force: true });
  }
}

/**
 * The entry's folder, built first if it is missing, broken or made from something else.
 *
 * The folder appears under its name only once it is whole: it is built under a temporary name, its checksums are written,
 * then it is renamed. Two processes never build the same entry at once.
 */
export async function cached(
  entry: CacheEntry,
  build: (folder: string) => Promise<void>,
  options: CacheOptions = {},
): Promise<string> {
  const found = await findCached(entry, options);
  if (found !== undefined) return found;

  const root = options.root ?? folders().cache;
  const temporary = privateFolder(root, ".tmp");
  const lock = join(root, ".locks", `${entry.name.replaceAll("/", "_")}.lock`);
  const buildLocked = async () => {
    const target = join(root, entry.name);
    if (await isWhole(target, entry.key, false)) return target;
    await removeLeftovers(temporary);
    const unique = `${process.pid}-${Date.now()}`;
    const work = join(temporary, `${unique}-new`);
    await mkdir(work, { mode: 0o700 });
    try {
      await build(work);
      const checksums: Checksums = { key: entry.key, files: await describeAll(work) };
      await writeFile(join(work, CHECKSUMS), JSON.stringify(checksums));
      privateFolder(dirname(target));
      const old = join(temporary, `${unique}-old`);
      await rename(target, old).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw error;
      });
      await rename(work, target);
      await rm(old, { recursive: true, force: true });
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return target;
  };
  return await withLock(lock, buildLocked, options.onWait);
}

/** A hash over the content of files, in the given order; changes when any of them does. */
export async function hashFiles(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) hash.update(await readFile(path)).update("\0");
  return hash.digest("hex");
}
