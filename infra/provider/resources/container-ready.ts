import type Docker from "dockerode";
import { messageOf, StateError } from "../../../base/errors.ts";
import {
  ACTION_MS,
  engine,
  exec,
  hasFailed,
  inspect,
  lastLines,
  within,
} from "../../../toolchain/engine/containers.ts";
import { offeredCertificate } from "../../../database/handshake.ts";
import { healthCommand } from "../../servers/container-health.ts";
import { byTheSame, changedProperties, type ResourceType } from "../resource.ts";
import { until } from "../../../base/retry.ts";

export interface ContainerReadyInputs {
  readonly container: string;
  /** A new container is waited for again. */
  readonly containerId: string;
  /** Where it serves; absent for a container that serves nobody. */
  readonly host?: string;
  readonly port?: number;
  readonly pidsLimit: number;
  readonly timeoutSec: number;
}

/**
 * The address, once the container serves. Providers take their address from here, so that they never meet a server that
 * is not up.
 */
export interface ContainerReadyOutputs {
  readonly readyHost?: string;
  readonly readyPort?: number;
}

const MAKE_AGAIN = "Run `aiwdb up` for this stack: it makes again what the state takes for there.";

/**
 * Starts or resumes a container that does not run. A container that is gone, or whose network is gone, can only be made
 * again.
 */
async function start(docker: Docker, name: string, signal?: AbortSignal): Promise<Docker.ContainerInspectInfo> {
  const info = await inspect(docker, name, signal);
  const cannot = (problem: string) =>
    new StateError(`Container ${name} cannot be started: ${problem}`, [
      { subject: name, problem: "is as it was", remedy: MAKE_AGAIN },
    ]);
  if (!info) throw cannot("it is gone.");
  const container = docker.getContainer(info.Id);
  try {
    if (info.State.Paused)
      await within(`resume container ${name}`, ACTION_MS, (options) => container.unpause(options), signal);
    else if (!info.State.Running && !info.State.Restarting)
      await within(`start container ${name}`, ACTION_MS, (options) => container.start(options), signal);
  } catch (error) {
    const { statusCode } = error as { statusCode?: number };
    if (statusCode !== 304) throw cannot(messageOf(error)); // 304: somebody else was faster
  }
  return info;
}

/**
 * Brings a container up that may be stopped, and waits until it serves.
 *
 * @param inputs of the container's `ContainerReady` resource
 * @param say called once if it takes longer than two seconds
 * @param signal gives up
 * @throws StateError with its last lines when it does not stay up or does not answer in time
 */
export async function startAndWait(
  { container: name, host, port, pidsLimit, timeoutSec }: ContainerReadyInputs,
  docker: Docker,
  say: (line: string) => void,
  signal?: AbortSignal,
): Promise<ContainerReadyOutputs> {
  const healthCheck = healthCommand(await start(docker, name, signal));
  // The docker provider has no setting for it; it survives restarts of the container.
  const limit = (options: object) => docker.getContainer(name).update({ PidsLimit: pidsLimit, ...options });
  const limitProcesses = () => within(`limit container ${name}`, ACTION_MS, limit, signal);
  // One that is just ending can't be changed. What ended it is in its log, which is shown below.
  const isLimited = await limitProcesses().then(
    () => true,
    () => false,
  );
  if (host === undefined || port === undefined) {
    if (!isLimited) await limitProcesses();
    return {}; // no server: its health check says how it does
  }
  const started = Date.now();
  let said = false;
  let wrong = "";
  const answered = await until(
    async () => {
      try {
        await offeredCertificate(host, port);
        // The engine asks at its own interval, which begins with a whole one of waiting.
        const { exitCode, stderr } = await exec(docker, name, healthCheck, undefined, signal);
        if (exitCode === 0) return true;
        wrong = stderr.trim();
      } catch (error) {
        wrong = messageOf(error);
      }
      const info = await inspect(docker, name, signal);
      if (hasFailed(info)) {
        const log = info ? await lastLines(docker, name, signal) : "(it is gone)";
        throw new StateError(`Container ${name} does not stay up. Its last lines:\n${log}`);
      }
      if (!said && Date.now() - started > 2_000) {
        said = true;
        say(`waiting for ${name} to accept connections`);
      }
      return undefined;
    },
    { deadlineMs: timeoutSec * 1_000, everyMs: 50, signal },
  );
  if (!answered)
    throw new StateError(
      `Container ${name} did not accept TLS connections on ${host}:${port} and answer a query within ${timeoutSec} s (${wrong}). Its last lines:\n${await lastLines(docker, name, signal)}`,
    );
  if (!isLimited) await limitProcesses();
  return { readyHost: host, readyPort: port };
}

/**
 * The gate between a container and everything that connects to it. It opens when the container offers TLS and its
 * health check, which runs a query, succeeds. A container that does not run is started.
 */
export const containerReady: ResourceType<ContainerReadyInputs, ContainerReadyOutputs> = {
  async diff(olds, news, { report, signal }) {
    const changed = changedProperties(olds, news, ["timeoutSec"]);
    if (changed.length > 0) return { changed };
    // Pulumi itself asks nobody whether the container still runs.
    const info = await inspect(engine(), olds.container, signal);
    if (info?.State.Running && !info.State.Paused) return { changed };
    const problem = !info ? "gone" : info.State.Paused ? "paused" : "stopped";
    report.warn(`container ${olds.container} is ${problem}`);
    return { changed: ["containerId"] };
  },
  // If they were unknown, everything that takes its address from here would look changed.
  plan: (olds, { host, port }) =>
    olds.readyPort === undefined || host === undefined || port === undefined
      ? {}
      : { readyHost: host, readyPort: port },
  ...byTheSame(
    ({ container }) => container,
    (inputs, { report, signal }) => startAndWait(inputs, engine(), report.status, signal),
  ),
};
