import { StateError } from "../../base/errors.ts";
import { until } from "../../base/retry.ts";
import { serialOf } from "../../certs/verify.ts";
import { offeredCertificate } from "../../database/handshake.ts";
import { ACTION_MS, hasFailed, inspect, lastLines, within } from "../../toolchain/engine/containers.ts";
import {
  CLIENT_CERTIFICATE,
  SERVER_CERTIFICATE,
  type Configuration,
  type RunningServer,
  type Server,
} from "../servers/server.ts";
import type { Reporter } from "./resource.ts";

/** Where a server shows its certificate. */
export interface Shown {
  readonly host: string;
  readonly port: number;
  readonly furtherPorts?: readonly number[];
}

/** How new files get into a server that may run. */
export interface Change {
  readonly server: Server;
  readonly at: RunningServer;
  readonly shown: Shown;
  /** What the running server has read. */
  readonly olds: Configuration;
  /** What is in its volume. */
  readonly news: Configuration;
  /** Puts the old files back. */
  readonly putBack: () => Promise<void>;
  readonly report: Reporter;
}

/**
 * Makes a running server take the files that are in its volume: by a reload, or by a restart where a reload would not
 * take all of them. If the server refuses them, the old files are put back.
 *
 * @throws StateError when the server does not take them
 */
export async function takeNewFiles({ server, at, shown, olds, news, putBack, report }: Change): Promise<void> {
  const { docker, container, signal } = at;
  const info = await inspect(docker, container, signal);
  if (!info?.State.Running) return; // it reads the files when it starts
  const { live } = server;
  // The engine starts a server again and again if it ends, as it does with settings that it cannot start with. Such a
  // server answers nothing. Between two attempts it runs for a moment.
  const isDown = info.State.Restarting || (info.RestartCount > 0 && info.State.Health?.Status === "starting");
  const restart = isDown || ((await live?.needsRestart(at, olds, news)) ?? false);
  let refused = isDown ? "" : ((await live?.refused(at)) ?? "");
  if (refused === "" && !restart) refused = (await live?.reload(at, news.files)) ?? "";
  if (refused !== "") {
    await putBack();
    await live?.reload(at, olds.files); // a refused reload may have taken a part of the new ones
    throw new StateError(
      `${container} refused its new settings; the old ones are in force and back in place:\n${refused}`,
    );
  }
  if (restart) {
    const why = isDown ? ", which did not stay up" : ": a setting changed that it reads only at start";
    report.info(`restarting ${container}${why}`);
    await restartContainer(at);
  }
  if (await offersItsCertificate(at, shown, news, restart ? 60_000 : 15_000)) {
    const isNew = olds.files[CLIENT_CERTIFICATE]?.content !== news.files[CLIENT_CERTIFICATE]?.content;
    if (!restart && isNew) await live?.retire?.(at, news.files, report.warn);
    return;
  }
  if (!restart)
    throw new StateError(`${container} still offers its old certificate on ${shown.host}:${shown.port}; see its log.`);
  const log = await lastLines(docker, container, signal);
  await putBack();
  await restartContainer(at);
  throw new StateError(
    `${container} does not start with its new settings; the old ones are back in place. Its last lines:\n${log}`,
  );
}

/** Whether the server offers the new certificate. Its reply to a reload does not say so; a handshake does. */
async function offersItsCertificate(
  { docker, container, signal }: RunningServer,
  { host, port, furtherPorts = [] }: Shown,
  { files }: Configuration,
  deadlineMs: number,
): Promise<boolean> {
  const certificate = files[SERVER_CERTIFICATE];
  if (!certificate) return true;
  const wanted = serialOf(certificate.content);
  const info = await inspect(docker, container, signal);
  const bindings = Object.values(
    (info?.HostConfig.PortBindings ?? {}) as Record<string, { HostPort: string }[]>,
  ).flat();
  // A container publishes a new port only after it was replaced.
  const ports = [port, ...furtherPorts].filter((each) => bindings.some(({ HostPort }) => Number(HostPort) === each));
  const offersOn = (each: number) =>
    until(
      async () => {
        // A handshake fails while the server is starting. It fails for ever if the server does not start, which its
        // container tells.
        const offered = await offeredCertificate(host, each).catch(() => undefined);
        if (offered?.serialNumber === wanted) return true;
        return hasFailed(await inspect(docker, container, signal)) ? false : undefined;
      },
      { deadlineMs, everyMs: 100, signal },
    );
  return (await Promise.all(ports.map(offersOn))).every(Boolean);
}

/** Waits as long as the container may take to end, and the engine to start it. */
async function restartContainer({ docker, container, signal }: RunningServer): Promise<void> {
  const config = (await inspect(docker, container, signal))?.Config as { StopTimeout?: number } | undefined;
  const stopSec = config?.StopTimeout ?? 10;
  const restart = (options: object) => docker.getContainer(container).restart(options);
  await within(`restart container ${container}`, stopSec * 1_000 + ACTION_MS, restart, signal);
}
