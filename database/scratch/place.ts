import { chmodSync, existsSync, mkdirSync, statfsSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { StateError } from "../../base/errors.ts";

/** PostgreSQL refuses to run as root; this account has no rights anywhere. */
const NOBODY = { uid: 65_534, gid: 65_534 };

/** Account of the server's process; undefined: the caller's own. */
export function account(): { uid: number; gid: number } | undefined {
  return process.getuid?.() === 0 ? NOBODY : undefined;
}

/** Less memory than this, and the data goes to a disk instead. */
const MEMORY_MIN_BYTES = 1_024 ** 3;

const MEMORY = "/dev/shm";
const rootIn = (place: string) => path.join(place, `aiwdb-${userInfo().uid}`);

/** In memory where the machine has a file system there, and room in it now: later calls may find another answer. */
export function rootFolder(): string {
  const inMemory = existsSync(MEMORY) && statfsSync(MEMORY).bavail * statfsSync(MEMORY).bsize >= MEMORY_MIN_BYTES;
  const root = rootIn(inMemory ? MEMORY : tmpdir());
  mkdirSync(root, { recursive: true, mode: 0o711 });
  const { uid, mode } = statSync(root);
  if (uid !== userInfo().uid || (mode & 0o022) !== 0) {
    throw new StateError(`${root} belongs to somebody else, or others may write there; nothing has been put into it.`);
  }
  chmodSync(root, 0o711); // the server's account passes through it, and sees nothing else
  return root;
}

/** Where the files of a server of that name may be: in memory or on disk, as there was room when it was started. */
export function placesOf(name: string): string[] {
  return [MEMORY, tmpdir()].map((place) => path.join(rootIn(place), name));
}
