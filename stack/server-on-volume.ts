import type Docker from "dockerode";
import { engineNames, HELPER_LABEL, STACK_LABEL } from "../infra/settings/names.ts";
import { hasFailed, inspect } from "../toolchain/engine/containers.ts";
import { DATA_DIR } from "../infra/servers/postgres/conf.ts";
import { ensureImage } from "../toolchain/images/ensure.ts";
import { withServerInContainer } from "../database/scratch/container.ts";

/**
 * Runs work with a server on a stack's data volume: the stack's own where it runs, else one that is started for this and removed
 * after it.
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
  return withServerInContainer(
    docker,
    {
      name: `${dataVolume}-look`,
      volume: dataVolume,
      image: tag,
      dataDir: DATA_DIR,
      labels: { [STACK_LABEL]: stack, [HELPER_LABEL]: dataVolume },
    },
    work,
  );
}
