import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { RunOptions } from "../provider/resource.ts";
import type { Shown } from "../provider/running-server.ts";
import { ContainerReady, type Network, type StateIdentity, VolumeFiles } from "../resources.ts";
import { addresses } from "../servers/postgres/hba.ts";
import { SERVERS, type ServerName } from "../servers/registry.ts";
import { engineNames, IDENTITY_FILE, STACK_LABEL } from "../settings/names.ts";
import type { StackConfig } from "../settings/table.ts";
import type { StackCertificates } from "./certificates.ts";

/** Mode of files that only their server may read. */
const PRIVATE_FILE = 0o600;
/** Open files a process may have, unless it needs more. Engines in containers often may give no more than 20,000. */
const OPEN_FILES = 16_384;

/** What the component of every server is given. */
export interface ServerArgs {
  readonly config: StackConfig;
  readonly certificates: StackCertificates;
  readonly identity: StateIdentity;
  readonly network: Network;
  /** What the user said for this run. */
  readonly run: RunOptions;
}

/** What a server has of its own. */
interface ServerParts {
  readonly service: ServerName;
  /** Tag of its image. */
  readonly image: pulumi.Input<string>;
  /** Text by path below its folder, besides what follows from the settings alone: certificates and passwords. */
  readonly files: Readonly<Record<string, pulumi.Input<string>>>;
  /** When it changes, the container is restarted to read the files. */
  readonly restartKey: string;
  /** Where it shows its certificate. */
  readonly shown: Shown;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Files and sockets that the process may need at once. */
  readonly openFiles?: number;
  /** Writable folders in memory, by path: their sizes in MiB. */
  readonly tmpfsMiB: Readonly<Record<string, number>>;
  /** For how many seconds after its start a failed health check does not count. */
  readonly startSec?: number;
  /** Volumes besides the one with the files. */
  readonly volumes?: docker.types.input.ContainerVolume[];
  /** Where it differs from the containers of the other servers. */
  readonly container: Partial<docker.ContainerArgs>;
  /** Limits for the gate. It waits for the address of `shown`, unless the container serves nobody. */
  readonly ready: { readonly servesNobody?: true; readonly pidsLimit: number; readonly timeoutSec: number };
}

/**
 * Makes a server's volume with its configuration and certificates, its container, and the gate that opens when it is
 * up.
 *
 * All containers of a stack have in common: no root, no capabilities, nothing writable but the named folders, limits on
 * everything they could exhaust, reaping of orphans, and time for a graceful stop.
 */
export function runServer(
  parent: pulumi.ComponentResource,
  name: string,
  { config, identity, network, run }: ServerArgs,
  parts: ServerParts,
): { readonly container: docker.Container; readonly ready: ContainerReady } {
  const { service, memoryMiB, cpus, openFiles = 0 } = parts;
  const { uid, folder, rendered, healthCheck } = SERVERS[service];
  const names = engineNames(config.stack);
  const labels = [{ label: STACK_LABEL, value: config.stack }];
  const files = { ...rendered(config), [IDENTITY_FILE]: identity.text, ...parts.files };
  // In coarse steps, because another limit means another container, which ends every session.
  const fileLimit = Math.max(OPEN_FILES, 2 ** Math.ceil(Math.log2(Math.max(1, openFiles))));
  const { servesNobody, ...limits } = parts.ready;

  const volume = new docker.Volume(
    `${name}-config`,
    { name: names[`${service}ConfigVolume`], labels },
    { parent, dependsOn: network },
  );
  const volumeFiles = new VolumeFiles(
    `${name}-files`,
    {
      run,
      volume: volume.name,
      image: parts.image,
      uid,
      files: Object.fromEntries(
        Object.entries(files).map(([file, content]) => [file, { content, mode: PRIVATE_FILE }]),
      ),
      service,
      container: names[service],
      restartKey: parts.restartKey,
      ...parts.shown,
    },
    { parent },
  );
  const container = new docker.Container(
    `${name}-container`,
    {
      name: names[service],
      hostname: names[service],
      image: parts.image,
      labels,
      init: true,
      readOnly: true,
      capabilities: { drops: ["ALL"] },
      securityOpts: ["no-new-privileges:true"],
      memory: memoryMiB,
      memorySwap: memoryMiB, // the limit itself: no swapping
      cpus: Number.isInteger(cpus) ? `${cpus}.0` : String(cpus),
      ulimits: [{ name: "nofile", soft: fileLimit, hard: fileLimit }],
      tmpfs: Object.fromEntries(
        Object.entries(parts.tmpfsMiB).map(([path, sizeMiB]) => [
          path,
          `rw,noexec,nosuid,nodev,size=${sizeMiB}m,uid=${uid},gid=${uid},mode=0700`,
        ]),
      ),
      logDriver: "json-file",
      logOpts: { "max-size": `${config.logMaxSizeMiB}m`, "max-file": "3" },
      restart: "unless-stopped",
      stopTimeout: config.stopTimeoutSec,
      destroyGraceSeconds: config.stopTimeoutSec,
      // The readiness gate waits, and says why if it waits in vain.
      wait: false,
      mustRun: true,
      healthcheck: {
        tests: [...healthCheck(config)],
        interval: goDuration(config.healthCheckIntervalSec),
        timeout: goDuration(5),
        retries: 3,
        startPeriod: goDuration(parts.startSec ?? 60),
      },
      networksAdvanced: [{ name: network.name, ipv4Address: addresses(config)[service], aliases: [service] }],
      volumes: [...(parts.volumes ?? []), { volumeName: volume.name, containerPath: folder, readOnly: true }],
      ...parts.container,
    },
    { parent, dependsOn: volumeFiles, deleteBeforeReplace: true },
  );
  const { host, port } = parts.shown;
  const ready = new ContainerReady(
    `${name}-ready`,
    { container: container.name, containerId: container.id, ...(servesNobody ? {} : { host, port }), ...limits },
    { parent },
  );
  return { container, ready };
}

/**
 * Seconds as Go writes them (`1m30s`). The provider reads them back like this, and another spelling would show as a
 * change.
 */
function goDuration(seconds: number): string {
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.floor((seconds % 3_600) / 60);
  return `${hours > 0 ? `${hours}h` : ""}${seconds >= 60 ? `${minutes}m` : ""}${seconds % 60}s`;
}
