import type Docker from "dockerode";
import type { ConnectionInfo } from "../../infra/database-stack.ts";
import { healthNow } from "../../infra/servers/container-health.ts";
import { inspect } from "../../toolchain/engine/containers.ts";
import { inTime, type Look } from "./look.ts";

export interface ContainerStatus {
  readonly name: string;
  /** The engine's word: running, exited, …; `missing` where the engine has no such container. */
  readonly state: string;
  /**
   * What its health check says now: healthy, starting or unhealthy; none without a check, unknown where it could not
   * run.
   */
  readonly health: string;
}

export async function containerStatus(docker: Docker, name: string, look: Look): Promise<ContainerStatus> {
  const info = await look(`container ${name}`, () => inspect(docker, name, inTime()));
  if (info === "unknown") return { name, state: "unknown", health: "unknown" };
  const status = { name, state: info?.State.Status ?? "missing", health: info?.State.Health?.Status ?? "none" };
  if (!info || status.state !== "running" || status.health === "none") return status;
  // The engine's answer may be as old as the check's interval. Older engines have none before the first interval ends.
  return { ...status, health: await look(`health of ${name}`, () => healthNow(docker, info, inTime)) };
}

/**
 * Whether a container is well. The maintenance container is healthy only after its first run, for which nobody waits.
 */
export function isHealthy({ name, state, health }: ContainerStatus, { containers }: ConnectionInfo): boolean {
  const accepted = name === containers.maintenance ? ["healthy", "starting"] : ["healthy", "none"];
  return state === "unknown" || (state === "running" && [...accepted, "unknown"].includes(health));
}
