import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import type Docker from "dockerode";
import { askWithin } from "./engine/client.ts";
import { hasCode, type Problem } from "../base/errors.ts";
import { folders } from "../base/paths.ts";
import { atLeast, versions } from "../base/versions.ts";

const GIB = 1024 ** 3;
/**
 * A certificate is valid from the moment it is made. Where clocks differ by more than this, the other side refuses
 * fresh ones.
 */
const CLOCK_TOLERANCE_MS = 30_000;

async function freeBytes(path: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch (error) {
    if (!hasCode(error, "ENOENT", "ENOTDIR", "EACCES")) throw error;
    // It is not made yet, or lies in a folder that this user may not enter. Its parent is taken to be on the same disk.
    return dirname(path) === path ? undefined : await freeBytes(dirname(path));
  }
}

function gib(bytes: number): string {
  return (bytes / GIB).toFixed(1);
}

/**
 * The places, by what they are called, with less room than the minimum.
 *
 * @param minimum in bytes. Images, write-ahead log and a first database fit into the default. With less, set-up fails
 *   half-way with a message that nobody understands. @default 1 GiB
 */
export async function checkDisk(places: Readonly<Record<string, string>>, minimum = GIB): Promise<Problem[]> {
  const problems = Object.entries(places).map(async ([subject, path]): Promise<Problem[]> => {
    const free = await freeBytes(path);
    if (free === undefined || free >= minimum) return [];
    const problem = `${path} has ${gib(free)} GiB free; at least ${gib(minimum)} are needed`;
    return [{ subject, problem, remedy: "Make room there, e.g. with `docker system prune`." }];
  });
  return (await Promise.all(problems)).flat();
}

/** What matters of the engine's own description. */
export interface EngineInfo {
  readonly ServerVersion: string;
  readonly SystemTime: string;
  readonly DockerRootDir: string;
  readonly OSType: string;
  readonly NCPU: number;
  readonly RegistryConfig?: { readonly Mirrors?: readonly string[] };
}

/** @throws ToolError when the engine hangs */
export async function engineInfo(docker: Docker, timeoutMs?: number): Promise<EngineInfo> {
  // The library's types do not know the option yet.
  return await askWithin(docker.info.bind(docker) as (options: object) => Promise<EngineInfo>, timeoutMs);
}

/** An engine whose clock differs from this machine's. */
export function checkClock(info: Pick<EngineInfo, "SystemTime">, now: number = Date.now()): Problem[] {
  const skew = new Date(info.SystemTime).getTime() - now;
  if (!(Math.abs(skew) > CLOCK_TOLERANCE_MS)) return [];
  const problem = `the engine's is ${Math.round(Math.abs(skew) / 1000)} s ${skew > 0 ? "ahead of" : "behind"} this machine's; certificates made here would not be valid there`;
  return [{ subject: "clock", problem, remedy: "Synchronise both with a time server; on Docker Desktop, restart it." }];
}

/** An engine that can't run the stack's containers. */
export function checkEngineVersion({ ServerVersion, OSType }: Pick<EngineInfo, "ServerVersion" | "OSType">): Problem[] {
  const subject = "Docker Engine";
  if (OSType !== "linux")
    return [{ subject, problem: `runs ${OSType} containers`, remedy: "Switch it to Linux containers." }];
  return checkVersion(subject, ServerVersion, versions.engine, "Update it, or set DOCKER_HOST to a newer one.");
}

/** A Node that can't run the package. */
export function checkNode(version: string = process.versions.node): Problem[] {
  return checkVersion(
    "Node",
    version,
    versions.node,
    "Start the program with bin/aiwdb, npx or npm run, which fetch one.",
  );
}

function checkVersion(subject: string, version: string, { minimum }: { minimum: string }, remedy: string): Problem[] {
  if (atLeast(version, minimum)) return [];
  return [{ subject, problem: `version ${version} is older than ${minimum}`, remedy }];
}

/** CPU limits above what the engine has, which it refuses when it creates the container. */
export function checkCpus({ NCPU }: Pick<EngineInfo, "NCPU">, limits: Readonly<Record<string, number>>): Problem[] {
  return Object.entries(limits)
    .filter(([, cpus]) => cpus > NCPU)
    .map(([setting, cpus]) => ({
      subject: setting,
      problem: `${cpus} is above the ${NCPU === 1 ? "1 CPU" : `${NCPU} CPUs`} the Docker Engine has`,
      remedy: "Lower it, or give the engine more (Docker Desktop: Settings, Resources).",
    }));
}

interface MachineNeeds {
  readonly docker?: Docker;
  /** CPU limits of the stack's containers, by the setting they come from. */
  readonly cpuLimits?: Readonly<Record<string, number>>;
  /** For one question to the engine. */
  readonly timeoutMs?: number;
}

/** Everything about this machine and its engine that would keep a stack from coming up, at once. Changes nothing. */
export async function checkMachine({ docker, cpuLimits = {}, timeoutMs }: MachineNeeds): Promise<Problem[]> {
  const info = docker && (await engineInfo(docker, timeoutMs));
  const { cache, state, data } = folders();
  const ours = { "cache folder": cache, "state folder": state, "data folder": data };
  if (info === undefined) return [...checkNode(), ...(await checkDisk(ours))];
  const problems = [...checkNode(), ...checkEngineVersion(info), ...checkClock(info), ...checkCpus(info, cpuLimits)];
  return [...problems, ...(await checkDisk({ ...ours, "Docker Engine's data folder": info.DockerRootDir }))];
}
