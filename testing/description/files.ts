import { readIfThere } from "../../base/text-file.ts";
import path from "node:path";
import { stackFolder } from "../../infra/settings/places.ts";
import { StateError } from "../../base/errors.ts";

/** Files of a server for tests that belong to this machine. */
export function serverFiles(name: string) {
  const folder = stackFolder(name);
  return {
    description: path.join(folder, "testdb.json"),
    /** Where a local server's files are, written before there are any. */
    local: path.join(folder, "testdb-local.json"),
    socket: path.join(folder, "testdb.sock"),
    token: path.join(folder, "testdb.token"),
    port: path.join(folder, "testdb.port"),
    log: path.join(folder, "testdb.log"),
  } as const;
}

/**
 * Bytes that the path of a Unix socket may have: https://man7.org/linux/man-pages/man7/unix.7.html, and macOS'
 * sys/un.h.
 */
const SOCKET_PATH_BYTES = process.platform === "darwin" ? 103 : 107;

/** Until the socket is whole, a point and the number of its process stand behind its name. */
const SOCKET_SUFFIX_BYTES = ".4194304".length;

/** @throws StateError where the system could not make the API's socket */
export function refuseLongSocketPath(name: string): void {
  const { socket } = serverFiles(name);
  const bytes = Buffer.byteLength(socket) + SOCKET_SUFFIX_BYTES;
  if (bytes <= SOCKET_PATH_BYTES) return;
  throw new StateError(`The server for tests "${name}" cannot be started; nothing has been changed:`, {
    subject: socket,
    problem: `has ${bytes} bytes with a process' number behind it, and the path of a socket may have ${SOCKET_PATH_BYTES}`,
    remedy: "Set XDG_DATA_HOME to a shorter folder, or choose a shorter --name.",
  });
}

/** Held by whoever starts or stops a server: two at once would remove each other's. */
export function serverLock(name: string): string {
  return path.join(stackFolder(name), "testdb.lock");
}

/** The loopback port of a running server's HTTP API; undefined where there is none. */
export function boundPort(name: string): number | undefined {
  const text = readIfThere(serverFiles(name).port);
  return text === undefined ? undefined : Number(text);
}
