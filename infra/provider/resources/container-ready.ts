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
import { changedProperties, type Properties, type Reporter, type ResourceType } from "../resource.ts";
import { until } from "../../../base/retry.ts";

/** The images' own script, which runs a query; also what the engine runs. */
const HEALTH_CHECK = ["healthcheck"];

/** Starts or resumes a container that does not run; one that is gone, or whose network is, can only be made again. */
async function start(docker: Docker, name: string): Promise<void> {
  const info = await inspect(docker, name);
  const cannot = (problem: string) =>
    new StateError(`Container ${name} cannot be started: ${problem}`, [
      {
        subject: name,
        problem: "is as it was",
        remedy: "Run `aiwdb up` for this stack: it makes again what the state takes for there.",
      },
    ]);
  if (!info) throw cannot("it is gone.");
  const container = docker.getContainer(info.Id);
  try {
    if (info.State.Paused) await within(`resume container ${name}`, ACTION_MS, (options) => container.unpause(options));
    else if (!info.State.Running && !info.State.Restarting)
      await within(`start container ${name}`, ACTION_MS, (options) => container.start(options));
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 304) return; // somebody else was faster
    throw cannot(messageOf(error));
  }
}

/**
 * Brings a container up that may be stopped, and waits until it serves.
 *
 * @param inputs of the container's `ContainerReady` resource
 * @param say called once if it takes longer than two seconds
 * @throws StateError with its last lines when it does not stay up or does not answer in time
 */
export async function startAndWait(
  inputs: Properties,
  docker: Docker,
  say: (line: string) => void,
): Promise<Properties> {
  const name: string = inputs["container"];
  await start(docker, name);
  // The docker provider has no setting for it; it survives restarts of the container.
  const limitProcesses = () =>
    within(`limit container ${name}`, ACTION_MS, (options) =>
      docker.getContainer(name).update({ PidsLimit: inputs["pidsLimit"], ...options }),
    );
  // One that is just ending can't be changed. What ended it is in its log, which is shown below.
  const isLimited = await limitProcesses().then(
    () => true,
    () => false,
  );
  if (inputs["port"] === undefined) {
    if (!isLimited) await limitProcesses();
    return {}; // no server: its health check says how it does
  }
  const started = Date.now();
  let said = false;
  let wrong = "";
  const answered = await until(
    async () => {
      try {
        await offeredCertificate(inputs["host"], inputs["port"]);
        // The engine asks at its own interval, which begins with a whole one of waiting.
        const { exitCode, stderr } = await exec(docker, name, HEALTH_CHECK);
        if (exitCode === 0) return true;
        throw new Error(stderr.trim());
      } catch (error) {
        wrong = messageOf(error);
        await refuseDead(name);
        if (!said && Date.now() - started > 2_000) {
          said = true;
          say(`waiting for ${name} to accept connections`);
        }
        return undefined;
      }
    },
    { deadlineMs: inputs["timeoutSec"] * 1_000, everyMs: 50 },
  );
  if (!answered) {
    throw new StateError(
      `Container ${name} did not accept TLS connections on ${inputs["host"]}:${inputs["port"]} and answer a query within ${inputs["timeoutSec"]} s (${wrong}). Its last lines:\n${await lastLines(docker, name)}`,
    );
  }
  if (!isLimited) await limitProcesses();
  return { readyHost: inputs["host"], readyPort: inputs["port"] };

  async function refuseDead(container: string): Promise<void> {
    const info = await inspect(docker, container);
    if (!hasFailed(info)) return;
    const log = info ? await lastLines(docker, container) : "(it is gone)";
    throw new StateError(`Container ${container} does not stay up. Its last lines:\n${log}`);
  }
}

const ready = (inputs: Properties, report: Reporter) => startAndWait(inputs, engine(), (line) => report.status(line));

/**
 * The gate between a container that was started and everything that connects to it: it offers TLS, and its health check,
 * which runs a query, succeeds. A new container is waited for again, and one that does not run is started.
 *
 * Inputs `container`, `containerId`, `host`, `port` (none for a container that serves nobody), `pidsLimit`, `timeoutSec`;
 * outputs `readyHost` and `readyPort`, from which providers take their address, so that none of them ever meets a server that
 * is not up.
 */
export const containerReady: ResourceType = {
  async diff(olds, news, report) {
    const changed = changedProperties(olds, news, ["timeoutSec"]);
    if (changed.length > 0) return { changed };
    // Pulumi itself asks nobody whether the container still runs.
    const info = await inspect(engine(), olds["container"]);
    const problem = !info
      ? "is gone"
      : !info.State.Running
        ? "is stopped"
        : info.State.Paused
          ? "is paused"
          : undefined;
    if (problem === undefined) return { changed };
    report.warn(`container ${olds["container"]} ${problem}`);
    return { changed: ["containerId"] };
  },
  // Unknown, they would make everything that takes its address from here look changed.
  plan: (olds, { host, port }) => (olds["readyPort"] === undefined ? {} : { readyHost: host, readyPort: port }),
  create: async (inputs, report) => ({ id: inputs["container"], outputs: await ready(inputs, report) }),
  update: async (_id, _olds, news, report) => ready(news, report),
};
