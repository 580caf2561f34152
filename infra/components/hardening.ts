import type * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import type { Server } from "../servers/server.ts";
import { STACK_LABEL } from "../settings/names.ts";
import type { StackConfig } from "../settings/table.ts";

/** Mode of files that only their server may read. */
const PRIVATE_FILE = 0o600;
/** Open files a process may have, unless it needs more. Engines in containers often may give no more than 20,000. */
const OPEN_FILES = 16_384;

/** What a container of the stack may use. */
export interface ContainerLimits {
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Files and sockets the process may need at once. */
  readonly openFiles?: number;
  /** Writable folders in memory, with mount options. */
  readonly tmpfs: Readonly<Record<string, string>>;
}

/**
 * What all containers of a stack have in common: no root, no capabilities, nothing writable but what is named, limits on
 * everything they could exhaust, reaping of orphans, and time for a graceful stop.
 */
export function hardened(config: StackConfig, limits: ContainerLimits): Partial<docker.ContainerArgs> {
  return {
    labels: [{ label: STACK_LABEL, value: config.stack }],
    init: true,
    readOnly: true,
    capabilities: { drops: ["ALL"] },
    securityOpts: ["no-new-privileges:true"],
    memory: limits.memoryMiB,
    memorySwap: limits.memoryMiB, // the limit itself: no swapping
    cpus: Number.isInteger(limits.cpus) ? `${limits.cpus}.0` : String(limits.cpus),
    ulimits: [{ name: "nofile", soft: openFiles(limits), hard: openFiles(limits) }],
    tmpfs: { ...limits.tmpfs },
    logDriver: "json-file",
    logOpts: { "max-size": `${config.logMaxSizeMiB}m`, "max-file": "3" },
    restart: "unless-stopped",
    stopTimeout: config.stopTimeoutSec,
    destroyGraceSeconds: config.stopTimeoutSec,
    // The readiness gate waits, and says why if it waits in vain.
    wait: false,
    mustRun: true,
  };
}

/** In coarse steps, because another limit means another container, which ends every session. */
function openFiles({ openFiles: needed = 0 }: ContainerLimits): number {
  return Math.max(OPEN_FILES, 2 ** Math.ceil(Math.log2(Math.max(1, needed))));
}

/**
 * How the engine sees whether a server is healthy.
 *
 * @param startSec for how long after its start a failure does not count
 */
export function healthcheck(config: StackConfig, server: Server, startSec = 60): docker.ContainerArgs["healthcheck"] {
  return {
    tests: [...server.healthCheck(config)],
    interval: goDuration(config.healthCheckIntervalSec),
    timeout: goDuration(5),
    retries: 3,
    startPeriod: goDuration(startSec),
  };
}

/** Files that only their server may read. */
export function privateFiles(texts: Readonly<Record<string, pulumi.Input<string>>>) {
  return Object.fromEntries(Object.entries(texts).map(([name, content]) => [name, { content, mode: PRIVATE_FILE }]));
}

/** Seconds as Go writes them (`1m30s`): the provider reads them back so, and another spelling would show as a change. */
function goDuration(seconds: number): string {
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.floor((seconds % 3_600) / 60);
  return `${hours > 0 ? `${hours}h` : ""}${seconds >= 60 ? `${minutes}m` : ""}${seconds % 60}s`;
}
