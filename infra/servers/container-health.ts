import type Docker from "dockerode";
import { exec } from "../../toolchain/engine/containers.ts";

const NS_PER_MS = 1_000_000;
/** As many as the engine makes before it says unhealthy. */
const ATTEMPTS = 3;

/** The command of a container's own health check; empty where it has none. */
export function healthCommand({ Config }: Docker.ContainerInspectInfo): string[] {
  const [kind, ...words] = Config.Healthcheck?.Test ?? [];
  return kind === "CMD-SHELL" ? ["sh", "-c", ...words] : words;
}

/**
 * Runs a container's health check now. The engine's own answer may be as old as its interval. For a container that was
 * paused it is "unhealthy".
 *
 * @param info of a running container that has a health check
 * @param limit makes the signal that gives up one run of it
 * @returns healthy or unhealthy; starting in place of unhealthy while the container is young, as the engine says it
 */
export async function healthNow(
  docker: Docker,
  info: Docker.ContainerInspectInfo,
  limit?: () => AbortSignal,
): Promise<"healthy" | "starting" | "unhealthy"> {
  const command = healthCommand(info);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const { exitCode } = await exec(docker, info.Id, command, undefined, limit?.());
    if (exitCode === 0) return "healthy";
  }
  const upMs = Date.now() - Date.parse(info.State.StartedAt);
  return upMs < (info.Config.Healthcheck?.StartPeriod ?? 0) / NS_PER_MS ? "starting" : "unhealthy";
}
