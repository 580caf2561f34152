import { isUtf8 } from "node:buffer";
import { closeSync, constants, fstatSync, openSync, readSync, statSync, type Stats } from "node:fs";
import path from "node:path";
import { messageOf, StateError } from "../../base/errors.ts";

/** A seed is sent as one statement; more than this belongs into a function that copies rows in. */
export const SEED_MAX_BYTES = 64 * 1024 ** 2;

/**
 * The text of a seed. Whoever waits for it serves others too, so that only what ends is read: a regular file, by the
 * size it says it has.
 *
 * @throws StateError when it is no such file, can't be read, or is no text
 */
export function readSeedFile(file: string): string {
  try {
    refuseUnusual(statSync(file)); // before it is opened: that alone starts some devices, and waits at a pipe
    const handle = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    try {
      return textOf(readWhole(handle));
    } finally {
      closeSync(handle);
    }
  } catch (cause) {
    throw new StateError(
      "The seed can not be read.",
      { subject: path.resolve(file), problem: messageOf(cause) },
      { cause },
    );
  }
}

function refuseUnusual(stats: Stats): void {
  if (stats.isDirectory()) throw new Error("is a directory");
  if (!stats.isFile()) throw new Error("is no regular file");
  if (stats.size > SEED_MAX_BYTES) throw new Error(`is larger than ${SEED_MAX_BYTES / 1024 ** 2} MiB`);
}

function readWhole(handle: number): Buffer {
  const stats = fstatSync(handle);
  refuseUnusual(stats); // it may be another one by now
  // One more than there should be: files of /proc and /sys say that they are empty, or have a size they do not keep to.
  const content = Buffer.alloc(stats.size + 1);
  let length = 0;
  for (let read = 1; read > 0 && length < content.length; length += read) {
    read = readSync(handle, content, length, content.length - length, null);
  }
  if (length > stats.size)
    throw new Error("has more in it than its size says: it is being written, or is no file of a disk");
  return content.subarray(0, length);
}

function textOf(content: Buffer): string {
  if (!isUtf8(content)) throw new Error("is no UTF-8 text");
  const text = new TextDecoder().decode(content);
  if (text.includes("\0")) throw new Error("holds a NUL character, which SQL can not");
  return text;
}
