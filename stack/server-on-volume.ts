import type Docker from "dockerode";
import { engineNames, HELPER_LABEL, STACK_LABEL } from "../infra/settings/names.ts";
import { hasFailed, inspect } from "../toolchain/engine/containers.ts";
import { DATA_DIR } from "../infra/servers/postgres/conf.ts";
import { ensureImage } from "../toolchain/images/ensure.ts";
import type { Report } from "../base/progress.ts";
import { withServerInContainer } from "../database/scratch/container.ts";

/**
 * Runs work with a server on a stack's data volume: the stack's own one where it runs, otherwise one that this starts
 * and removes again.
 *
 * @param work gets the name of the server's container
 * @returns what the work returns; undefined, without the work, where the volume has no cluster: a first run was cut
 *   off, or the data was in memory
 * @throws ToolError when no server starts on the volume
 */
export async function withServerOnVolume<T>(
  docker: Docker,
  stack: string,
  report: Report,
  work: (container: string) => Promise<T>,
): Promise<T | undefined> {
  const { postgres, dataVolume } = engineNames(stack);
  const own = await inspect(docker, postgres);
  if (own?.State.Running && !own.State.Paused && !hasFailed(own)) return work(postgres);
  // A container that is paused, or starts again and again, still uses the volume.
  if (own?.State.Running || own?.State.Restarting) await docker.getContainer(own.Id).stop();
  report(`starting a server on volume ${dataVolume} to look into it`);
  const { tag: image } = await ensureImage("postgres", { docker, report });
  const labels = { [STACK_LABEL]: stack, [HELPER_LABEL]: dataVolume };
  const server = { name: `${dataVolume}-look`, volume: dataVolume, image, dataDir: DATA_DIR, labels };
  return withServerInContainer(docker, server, work);
}
