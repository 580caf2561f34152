import type Docker from "dockerode";
import { StateError } from "../../../base/errors.ts";
import type { ImageKind } from "../../../toolchain/images/tag.ts";
import { findImage } from "../../../toolchain/images/build.ts";
import { ACTION_MS, ifFound, inspect, within } from "../../../toolchain/engine/containers.ts";
import { HELPER_LABEL, STACK_LABEL } from "../../settings/names.ts";

/** The engine, and what gives up what it is asked. */
export interface Access {
  readonly docker: Docker;
  readonly signal?: AbortSignal | undefined;
}

/** A volume, and where a server's container has it. */
export interface MountedVolume {
  readonly volume: string;
  readonly container: string;
  readonly folder: string;
  /** The server's image, whose user may read the volume. */
  readonly image: ImageKind;
  /** Tag of the image that the state has. Where that image was pruned, another one is taken. */
  readonly tag?: string;
}

type Work<T> = (container: Docker.Container) => Promise<T>;

/**
 * Reads a volume in the container that has it, running or not, else in a helper that is never started.
 *
 * @returns undefined where there is no such volume
 * @throws ToolError when the engine does not answer: that is not the same as nothing there
 */
export async function readVolume<T>(access: Access, at: MountedVolume, read: Work<T>): Promise<T | undefined> {
  const { docker, signal } = access;
  const info = await inspect(docker, at.container, signal);
  if (info?.Mounts.some(({ Name, Destination }) => Name === at.volume && Destination === at.folder))
    return await read(docker.getContainer(info.Id));
  const labels = await labelsOf(access, at.volume);
  if (labels === undefined) return undefined;
  return await withContainer(access, at, labels, { Entrypoint: ["true"] }, `${at.volume}:${at.folder}:ro`, read);
}

/**
 * Writes a volume by a helper that runs a command as the volume's user, once it is started.
 *
 * @throws StateError where there is no such volume
 */
export async function writeVolume<T>(
  access: Access,
  at: MountedVolume,
  uid: number,
  command: string[],
  write: Work<T>,
): Promise<T> {
  const name = `${at.volume}-files`;
  await remove(access.docker.getContainer(name)); // one that a killed run left
  const labels = await labelsOf(access, at.volume);
  if (labels === undefined)
    throw new StateError(`Volume ${at.volume} is gone; run \`aiwdb up\` for its stack, which makes it again.`);
  const settings = { name, Entrypoint: command, User: `${uid}:${uid}`, WorkingDir: at.folder };
  return await withContainer(access, at, labels, settings, `${at.volume}:${at.folder}`, write);
}

type Labels = Readonly<Record<string, string>>;

async function labelsOf({ docker, signal }: Access, volume: string): Promise<Labels | undefined> {
  const ask = (options: object) => docker.getVolume(volume).inspect(options);
  const found = await ifFound(within(`tell about volume ${volume}`, ACTION_MS, ask, signal));
  return found && (found.Labels ?? {});
}

/**
 * Works with a container, and removes it whatever happens. It has the stack's label: `up` and `down` find one that a
 * kill leaves.
 */
async function withContainer<T>(
  access: Access,
  at: MountedVolume,
  { [STACK_LABEL]: stack }: Labels,
  settings: Docker.ContainerCreateOptions,
  bind: string,
  work: Work<T>,
): Promise<T> {
  const { docker, signal } = access;
  const image = await imageOf(access, at);
  const make = (options: object) =>
    docker.createContainer({
      ...settings,
      Image: image,
      Cmd: [],
      Labels: { [HELPER_LABEL]: at.volume, ...(stack === undefined ? {} : { [STACK_LABEL]: stack }) },
      HostConfig: { Binds: [bind], NetworkMode: "none", CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"] },
      ...options,
    });
  const container = await within(`make a container for volume ${at.volume}`, ACTION_MS, make, signal);
  try {
    return await within(`read or write the files of volume ${at.volume}`, ACTION_MS, () => work(container), signal);
  } finally {
    await remove(container);
  }
}

/** The server's image. Where it was pruned, its container still has it; without a container it is built. */
async function imageOf({ docker, signal }: Access, { image, tag, container }: MountedVolume): Promise<string> {
  if (tag !== undefined && (await findImage(docker, tag))) return tag;
  const info = await inspect(docker, container, signal);
  if (info) return info.Image;
  const { ensureImage } = await import("../../../toolchain/images/ensure.ts"); // here, because it is seldom needed
  return (await ensureImage(image, { docker, report: () => {} })).tag;
}

/** Also when the user stops Pulumi. */
async function remove(container: Docker.Container): Promise<void> {
  // v: volumes that the image declares and nobody named
  await ifFound(container.remove({ force: true, v: true, abortSignal: AbortSignal.timeout(ACTION_MS) }));
}
