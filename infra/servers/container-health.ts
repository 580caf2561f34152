import type Docker from "dockerode";
import { exec } from "../../toolchain/engine/containers.ts";

const NS_PER_MS = 1_000_000;
/** As many as the engine makes before it says unhealthy. */
const ATTEMPTS = 3;

/**
 * Runs a container's health check now. The engine's own answer may be as old as its interval, and is "unhealthy" for a container that
 * was paused.
 *
 * @param info of a running container that has a health check
 * @param limit what gives up one run of it
 * @returns healthy, or unhealthy; starting in place of it while the container is young, as the engine says it
 */
export async function healthNow(
  docker: Docker,
  info: Docker.ContainerInspectInfo,
  limit?: () => AbortSignal,
): Promise<"healthy" | "starting" | "unhealthy"> {
  const { Test = [], StartPeriod = 0 } = info.Config.Healthcheck ?? {};
  const [kind, ...words] = Test;
  const command = kind === "CMD-SHELL" ? ["sh", "-c", ...words] : words;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const { exitCode } = await exec(docker, info.Id, command, undefined, limit?.());
    if (exitCode === 0) return "healthy";
  }
  const upMs = Date.now() - Date.parse(info.State.StartedAt);
  return upMs < StartPeriod / NS_PER_MS ? "starting" : "unhealthy";
}
