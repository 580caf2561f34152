import { existsSync, readFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { StateError } from "../../../base/errors.ts";
import { changedProperties, UNKNOWN, type ResourceType } from "../resource.ts";

type Files = Readonly<Record<string, string>>;

export interface ClientFilesInputs {
  /** Outside the checkout. */
  readonly directory: string;
  /** Secret: text by name. */
  readonly files: Files;
}

/** The link to the folder with the files that are in force. */
const CURRENT = ".current";
const VERSION = ".version-";

/**
 * Writes files by name, each with mode 0600. Each name in `directory` is a link to `.current/<name>`. `.current` is a
 * link to a folder with one version of all files. One rename of `.current` puts a new version in force, so that a
 * client always finds a certificate with its own key. A write that was cut off leaves the old version in force. The
 * next write removes what it left.
 */
async function write(directory: string, files: Files): Promise<void> {
  const names = Object.keys(files);
  await fs.mkdir(directory, { recursive: true, mode: 0o700 });
  await fs.chmod(directory, 0o700);
  for (const name of names) {
    const found = await fs.lstat(path.join(directory, name)).catch(unless("ENOENT"));
    if (found?.isDirectory()) throw new StateError(`${path.join(directory, name)} is a folder; a file belongs there`);
  }
  if (!existsSync(path.join(directory, CURRENT))) await adoptPlainFiles(directory, names);
  try {
    const version = await fs.mkdtemp(path.join(directory, VERSION)); // mode 0700
    for (const name of names)
      await fs.writeFile(path.join(version, name), files[name] ?? "", { flag: "wx", mode: 0o600, flush: true });
    await link(directory, path.basename(version), CURRENT);
    await linkNames(directory, names);
  } finally {
    await sweep(directory, await fs.readlink(path.join(directory, CURRENT)));
  }
}

/** Release 0.1.0 wrote plain files. They become the version in force, so that the switch replaces them together. */
async function adoptPlainFiles(directory: string, names: readonly string[]): Promise<void> {
  const plain = names.filter((name) => existsSync(path.join(directory, name)));
  const version = await fs.mkdtemp(path.join(directory, VERSION));
  for (const name of plain) await fs.copyFile(path.join(directory, name), path.join(version, name));
  await link(directory, path.basename(version), CURRENT);
  await linkNames(directory, plain);
}

/** Makes each name a link into the version in force; whatever else has the name is replaced. */
async function linkNames(directory: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const target = path.join(CURRENT, name);
    const found = await fs.readlink(path.join(directory, name)).catch(unless("ENOENT", "EINVAL")); // EINVAL: it is no link
    if (found !== target) await link(directory, target, name);
  }
}

/** Makes or replaces a link by one rename. */
async function link(directory: string, target: string, name: string): Promise<void> {
  const temporary = path.join(directory, `.next-${name}`);
  await fs.rm(temporary, { force: true });
  await fs.symlink(target, temporary);
  await fs.rename(temporary, path.join(directory, name));
}

/** Removes all versions but the one to keep. */
async function sweep(directory: string, kept?: string): Promise<void> {
  const entries = await fs.readdir(directory).catch(unless("ENOENT"));
  for (const entry of entries ?? [])
    if ((entry.startsWith(VERSION) && entry !== kept) || entry.startsWith(".next-"))
      await fs.rm(path.join(directory, entry), { recursive: true, force: true });
}

/** Removes the links and versions; the folder too, unless something of the user's own is left in it. */
async function remove(directory: string, names: readonly string[]): Promise<void> {
  for (const name of [...names, CURRENT]) await fs.rm(path.join(directory, name), { force: true });
  await sweep(directory);
  await fs.rmdir(directory).catch(unless("ENOTEMPTY", "ENOENT"));
}

/** Catches errors with these codes, as "nothing there". */
const unless =
  (...codes: string[]) =>
  (error: NodeJS.ErrnoException): undefined => {
    if (!codes.includes(error.code ?? "")) throw error;
  };

function present(directory: string, files: Files): boolean {
  return Object.entries(files).every(([name, content]) => {
    const file = path.join(directory, name);
    return existsSync(file) && readFileSync(file, "utf8") === content;
  });
}

/**
 * Certificates and keys of the client roles in a folder outside the checkout, for libpq and the PostgreSQL provider.
 * Files that are missing or were changed are written again.
 */
export const clientFiles: ResourceType<ClientFilesInputs> = {
  diff(olds, news) {
    const changed = changedProperties(olds, news);
    const known = news.files !== UNKNOWN && !Object.values(news.files).includes(UNKNOWN);
    return { changed: changed.length === 0 && known && !present(news.directory, news.files) ? ["files"] : changed };
  },
  async create({ directory, files }) {
    await write(directory, files);
    return { id: directory, outputs: {} };
  },
  async read(_id, state) {
    return present(state.directory, state.files) ? state : { ...state, files: {} };
  },
  async update(_id, olds, { directory, files }) {
    await write(directory, files);
    const before = Object.keys(olds.files ?? {});
    if (olds.directory !== directory) await remove(olds.directory, before);
    else
      for (const name of before.filter((file) => !(file in files)))
        await fs.rm(path.join(directory, name), { force: true });
  },
  async delete(_id, { directory, files }) {
    await remove(directory, Object.keys(files ?? {}));
  },
};
