import type Docker from "dockerode";
import { engineNames, HELPER_LABEL, STACK_LABEL } from "../infra/settings/names.ts";
import { hasFailed, inspect, lastLines } from "../toolchain/engine/containers.ts";
import { DATA_DIR } from "../infra/servers/postgres/conf.ts";
import { ToolError } from "../base/errors.ts";
import { ensureImage } from "../toolchain/images/ensure.ts";
import { askServer } from "./ask-server.ts";

/** There is no cluster on the volume. */
const NOTHING = 78;

/** PostgreSQL on the files that are there, for nobody but its own container: no network, and a socket in it. */
const START = [
  "set -eu",
  `[ -f ${DATA_DIR}/pgdata/PG_VERSION ] || exit ${NOTHING}`,
  "umask 077",
  `exec 9>${DATA_DIR}/.lock`, // as the image's own entrypoint: two servers on one volume would destroy it
  "flock --nonblock 9",
  "echo 'local all postgres peer' >/tmp/pg_hba.conf",
  [
    `exec postgres -D ${DATA_DIR}/pgdata -c hba_file=/tmp/pg_hba.conf -c listen_addresses=`,
    "-c unix_socket_directories=/run/postgresql -c autovacuum=off -c max_wal_senders=0",
  ].join(" "),
].join("\n");

/**
 * Runs work with a server on a stack's data volume: the stack's own where it runs, else one that is started for this and removed
 * after it. Changes nothing but what a server's start does, such as recovery after a crash.
 *
 * @param work gets the name of the server's container
 * @returns undefined, and does no work, where the volume has no cluster: a first run was cut off, or the data was in memory
 * @throws ToolError when no server starts on the volume
 */
export async function withServerOnVolume<T>(
  docker: Docker,
  stack: string,
  report: (line: string) => void,
  work: (container: string) => Promise<T>,
): Promise<T | undefined> {
  const { postgres, dataVolume } = engineNames(stack);
  const own = await inspect(docker, postgres);
  if (own?.State.Running && !own.State.Paused && !hasFailed(own)) return work(postgres);
  // One that is paused, or comes back again and again, has the volume in use.
  if (own?.State.Running || own?.State.Restarting) await docker.getContainer(own.Id).stop();
  report(`starting a server on volume ${dataVolume} to look into it`);
  const { tag } = await ensureImage("postgres", { docker, report });
  const name = `${dataVolume}-look`;
  const remove = () =>
    docker
      .getContainer(name)
      .remove({ force: true, v: true })
      .catch((error: { statusCode?: number }) => {
        if (error.statusCode !== 404) throw error;
      });
  await remove(); // one that a killed run left
  const container = await docker.createContainer({
    name,
    Image: tag,
    Entrypoint: ["sh", "-c", START],
    Cmd: [],
    StopSignal: "SIGINT",
    Labels: { [STACK_LABEL]: stack, [HELPER_LABEL]: dataVolume },
    HostConfig: {
      Binds: [`${dataVolume}:${DATA_DIR}`],
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
        `No server starts on volume ${dataVolume}; nothing has been changed:\n${await lastLines(docker, name)}`,
      );
    }
    const result = await work(name);
    await container.stop();
    return result;
  } finally {
    await remove();
  }
}
