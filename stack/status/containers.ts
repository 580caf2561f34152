import type Docker from "dockerode";
import type { ConnectionInfo } from "../../infra/database-stack.ts";
import { healthNow } from "../../infra/servers/container-health.ts";
import { inspect } from "../../toolchain/engine/containers.ts";
import { inTime, type Look } from "./look.ts";

export interface ContainerStatus {
  readonly name: string;
  /** The engine's word: running, exited, …; `missing` if there is none. */
  readonly state: string;
  /**
   * Of its health check, run now: healthy, starting, unhealthy; none where it has none, unknown where it could not be
   * run.
   */
  readonly health: string;
}

export async function containerStatus(docker: Docker, name: string, look: Look): Promise<ContainerStatus> {
  const info = await look(`container ${name}`, () => inspect(docker, name, inTime()));
  if (info === "unknown") return { name, state: "unknown", health: "unknown" };
  const status = { name, state: info?.State.Status ?? "missing", health: info?.State.Health?.Status ?? "none" };
  if (!info || status.state !== "running" || status.health === "none") return status;
  // The engine's answer may be as old as its interval, and older engines have none before the first one is over.
  return { ...status, health: await look(`health of ${name}`, () => healthNow(docker, info, inTime)) };
}

/** The maintenance container is healthy after its first run, which nobody waits for. */
export function isHealthy({ name, state, health }: ContainerStatus, { containers }: ConnectionInfo): boolean {
  const accepted = name === containers.maintenance ? ["healthy", "starting"] : ["healthy", "none"];
  return state === "unknown" || (state === "running" && [...accepted, "unknown"].includes(health));
}
