import type Docker from "dockerode";
import { ToolError } from "../../base/errors.ts";
import { ifFound, inspect, lastLines } from "../../toolchain/engine/containers.ts";
import { askServer } from "../ask-server.ts";

/** There is no cluster on the volume. */
const NOTHING = 78;

/** PostgreSQL on the files that are there, for nobody but its own container: no network, and a socket in it. */
const start = (dataDir: string) =>
  [
    "set -eu",
    `[ -f ${dataDir}/pgdata/PG_VERSION ] || exit ${NOTHING}`,
    "umask 077",
    `exec 9>${dataDir}/.lock`, // as the image's own entrypoint: two servers on one volume would destroy it
    "flock --nonblock 9",
    "echo 'local all postgres peer' >/tmp/pg_hba.conf",
    [
      `exec postgres -D ${dataDir}/pgdata -c hba_file=/tmp/pg_hba.conf -c listen_addresses=`,
      "-c unix_socket_directories=/run/postgresql -c autovacuum=off -c max_wal_senders=0",
    ].join(" "),
  ].join("\n");

/** A data volume, and what the container that looks into it is made from. */
export interface VolumeServer {
  /** The container's; one that is left of a killed run is removed. */
  readonly name: string;
  readonly volume: string;
  /** Tag of an image with PostgreSQL. */
  readonly image: string;
  /** Where the image has its data; the cluster is in `pgdata` there. */
  readonly dataDir: string;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Starts a server on a data volume, runs work with it, and removes it. It changes nothing but what a server's start
 * changes, such as recovery after a crash.
 *
 * @param work gets the name of the container
 * @returns undefined, and does no work, where the volume has no cluster
 * @throws ToolError when no server starts on the volume
 */
export async function withServerInContainer<T>(
  docker: Docker,
  { name, volume, image, dataDir, labels }: VolumeServer,
  work: (container: string) => Promise<T>,
): Promise<T | undefined> {
  const remove = () => ifFound(docker.getContainer(name).remove({ force: true, v: true }));
  await remove(); // one that a killed run left
  const container = await docker.createContainer({
    name,
    Image: image,
    Entrypoint: ["sh", "-c", start(dataDir)],
    Cmd: [],
    StopSignal: "SIGINT",
    Labels: { ...labels },
    HostConfig: {
      Binds: [`${volume}:${dataDir}`],
      NetworkMode: "none",
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      Tmpfs: { "/run/postgresql": "rw,noexec,nosuid,nodev,size=1m,uid=999,gid=999,mode=0700" },
    },
  });
  try {
    await container.start();
    if ((await askServer(docker, name, "select 1")) === undefined) {
      if ((await inspect(docker, name))?.State.ExitCode === NOTHING) return undefined;
      throw new ToolError(
        `No server starts on volume ${volume}; nothing has been changed:\n${await lastLines(docker, name)}`,
      );
    }
    const result = await work(name);
    await container.stop();
    return result;
  } finally {
    await remove();
  }
}
