import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, mkdir, readdir, readFile, readlink, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { type HeldLock, type LockOptions, withLock } from "../base/lock.ts";
import { hasCode } from "../base/errors.ts";
import { folders, privateFolder } from "../base/paths.ts";
import { readJsonIfWhole } from "../base/text-file.ts";

/** This file lies inside the entry, so that one rename publishes both. */
const CHECKSUMS = ".checksums.json";

interface FileRecord {
  sha256: string;
  size: number;
  mtimeMs: number;
}

interface Checksums {
  /** What the entry was built from. Another key means another entry. */
  key: string;
  files: Record<string, FileRecord>;
}

/** A folder in the cache. It is either whole or not there. */
export interface CacheEntry {
  /** Path below the cache folder. */
  readonly name: string;
  /** Everything that decides the content: versions, hashes of sources. A changed key rebuilds the entry. */
  readonly key: string;
}

export interface CacheOptions {
  /** @default the user's cache folder */
  readonly root?: string;
  /** How the user is told that another process is building the same entry. */
  readonly lock?: LockOptions;
}

async function describe(path: string): Promise<FileRecord> {
  const info = await lstat(path);
  const hash = createHash("sha256");
  if (info.isSymbolicLink()) hash.update(await readlink(path));
  else await pipeline(createReadStream(path), hash);
  return { sha256: hash.digest("hex"), size: info.size, mtimeMs: info.mtimeMs };
}

async function describeAll(folder: string): Promise<Record<string, FileRecord>> {
  const files: Record<string, FileRecord> = {};
  for (const item of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(item.parentPath, item.name);
    if (!item.isDirectory()) files[relative(folder, path)] = await describe(path);
  }
  return files;
}

async function isWhole(folder: string, key: string, thorough: boolean): Promise<boolean> {
  const checksums = readJsonIfWhole<Checksums>(join(folder, CHECKSUMS));
  if (checksums?.key !== key) return false;
  const checks = Object.entries(checksums.files).map(async ([name, record]) => {
    const path = join(folder, name);
    const info = await lstat(path);
    if (info.size !== record.size) return false;
    // Hashing hundreds of megabytes at every command would take seconds. A file with its old size and time is not read.
    if (!thorough && info.mtimeMs === record.mtimeMs) return true;
    return (await describe(path)).sha256 === record.sha256;
  });
  try {
    return (await Promise.all(checks)).every(Boolean);
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return false; // a file is missing
    throw error;
  }
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

/**
 * The entry's folder, built first if it is missing, broken or made from something else.
 *
 * It is built under a temporary name, gets its checksums, and is renamed then, so that the entry's name never leads to
 * half a folder. Two processes never build the same entry at once.
 */
export async function cached(
  entry: CacheEntry,
  build: (folder: string) => Promise<void>,
  options: CacheOptions = {},
): Promise<string> {
  const found = await findCached(entry, options);
  if (found !== undefined) return found;

  const root = options.root ?? folders().cache;
  const flatName = entry.name.replaceAll("/", "_");
  // Only this entry uses the folder. Whatever lies there while we hold the lock was left by a build that was killed.
  const temporary = join(root, ".tmp", flatName);
  const buildLocked = async (lock: HeldLock) => {
    const target = join(root, entry.name);
    if (await isWhole(target, entry.key, false)) return target;
    await rm(temporary, { recursive: true, force: true });
    // A builder that lost its lock may not have stopped yet.
    const work = join(temporary, randomUUID(), "new");
    await mkdir(work, { mode: 0o700, recursive: true });
    try {
      await build(work);
      const checksums: Checksums = { key: entry.key, files: await describeAll(work) };
      lock.assertHeld();
      await writeFile(join(work, CHECKSUMS), JSON.stringify(checksums));
      privateFolder(dirname(target));
      const old = join(dirname(work), "old");
      lock.assertHeld();
      await rename(target, old).catch((error: unknown) => {
        if (!hasCode(error, "ENOENT")) throw error;
      });
      await rename(work, target);
    } finally {
      await rm(lock.signal.aborted ? dirname(work) : temporary, { recursive: true, force: true });
    }
    return target;
  };
  return await withLock(join(root, ".locks", flatName), buildLocked, options.lock);
}

/** A hash over the content of files, in the given order. */
export async function hashFiles(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) hash.update(await readFile(path)).update("\0");
  return hash.digest("hex");
}
