import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import type Docker from "dockerode";
import tar from "tar-stream";
import { ACTION_MS, ifFound, within } from "./containers.ts";

export interface FileSpec {
  readonly content: string;
  /** Permission bits. */
  readonly mode: number;
}

/** A tar archive of files, and of symbolic links to their targets, that belong to `uid`. */
export function archive(
  files: Readonly<Record<string, FileSpec>>,
  uid: number,
  prefix = "",
  links: Readonly<Record<string, string>> = {},
): NodeJS.ReadableStream {
  const pack = tar.pack();
  const folders = new Set<string>();
  for (const [name, { content, mode }] of Object.entries(files)) {
    const parts = `${prefix}${name}`.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      const folder = parts.slice(0, depth).join("/");
      if (folders.has(folder)) continue;
      folders.add(folder);
      pack.entry({ name: folder, type: "directory", mode: 0o700, uid, gid: uid });
    }
    pack.entry({ name: `${prefix}${name}`, mode, uid, gid: uid }, content);
  }
  for (const [name, linkname] of Object.entries(links)) pack.entry({ name, type: "symlink", linkname, uid, gid: uid });
  pack.finalize();
  return pack;
}

/** What is in a folder inside a container, by path below it. */
export interface Folder {
  /** Text of each file. */
  readonly files: Readonly<Record<string, string>>;
  /** Target of each symbolic link. */
  readonly links: Readonly<Record<string, string>>;
}

/** Text files and links of a folder inside a container, running or not. */
export async function readFolder(container: Docker.Container, path: string, signal?: AbortSignal): Promise<Folder> {
  const files: Record<string, string> = {};
  const links: Record<string, string> = {};
  for (const { header, content } of await readEntries(container, path, signal)) {
    const name = header.name.split("/").slice(1).join("/");
    if (header.type === "file") files[name] = content;
    if (header.type === "symlink") links[name] = header.linkname ?? "";
  }
  return { files, links };
}

/** Text of a file inside a container, running or not; undefined where there is none. */
export async function readFile(
  container: Docker.Container,
  path: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const entries = await ifFound(readEntries(container, path, signal));
  return entries?.[0]?.content;
}

/** The entries of the tar archive that the engine makes of a path inside a container. */
async function readEntries(container: Docker.Container, path: string, signal: AbortSignal | undefined) {
  const what = `read ${path} of container ${container.id}`;
  const stream = await within(what, ACTION_MS, (options) => container.getArchive({ path, ...options }), signal);
  const entries: { header: tar.Headers; content: string }[] = [];
  const extract = tar.extract();
  extract.on("entry", (header, entry, next) => {
    text(entry).then((content) => {
      entries.push({ header, content });
      next();
    }, next);
  });
  await pipeline(stream, extract);
  return entries;
}
