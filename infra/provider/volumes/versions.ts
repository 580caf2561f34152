import { readFileSync } from "node:fs";
import path from "node:path";
import type Docker from "dockerode";
import { StateError } from "../../../base/errors.ts";
import { PACKAGE_ROOT } from "../../../base/versions.ts";
import { archive, readFolder } from "../../../toolchain/engine/archives.ts";
import { lastLines } from "../../../toolchain/engine/containers.ts";
import type { Files } from "../../servers/server.ts";
import { writeVolume, type Access, type MountedVolume } from "./helper.ts";

/**
 * All files of one state lie in one folder, `.version-…`. `.current` is a link to it, and `tls` is a link to
 * `.current/tls`. Servers read the files through these links. One rename replaces `.current`, so that all files change
 * at once, certificates together with their keys.
 */
const VERSION_PREFIX = ".version-";
/** Link to the one folder whose files are in force. */
export const CURRENT_VERSION = ".current";

/** Puts a version in force, in a folder that has it. */
export const SWITCH_SCRIPT = path.join(PACKAGE_ROOT, "infra/provider/volumes/switch.sh");
/** Exit code by which the script says that the server would refuse the files. */
const REFUSED = 9;

/** A volume of files in versions. */
export interface VersionedVolume extends MountedVolume {
  /** Account that owns the files. */
  readonly uid: number;
  /** Refuses a volume that must not be written, before anything is written. */
  readonly guard: (helper: Docker.Container) => Promise<void>;
}

const newVersion = () => `${VERSION_PREFIX}${Date.now().toString(36)}`;
const topLevel = (files: Files) => [...new Set(Object.keys(files).map((name) => name.split("/")[0] ?? name))];

/** Fills a new volume. Nobody reads the files yet. */
export async function fill(access: Access, volume: VersionedVolume, files: Files): Promise<void> {
  const version = newVersion();
  const links = Object.fromEntries(topLevel(files).map((name) => [name, `${CURRENT_VERSION}/${name}`]));
  await writeVolume(access, volume, volume.uid, ["true"], async (helper) => {
    await volume.guard(helper);
    await helper.putArchive(archive(files, volume.uid, `${version}/`, { ...links, [CURRENT_VERSION]: version }), {
      path: volume.folder,
    });
  });
}

/**
 * Replaces files of a server that may be running. All new files are written beside the old ones and tried. Then they
 * are put in force at once. After a full disk or a kill, either the old or the new files are in force: a certificate is
 * never without its key.
 *
 * @param tryScript path of a script that tries the files, for a server that has one
 * @throws StateError when the server refuses the files, or they could not be put in force
 */
export async function replace(
  access: Access,
  volume: VersionedVolume,
  files: Files,
  tryScript: string | undefined,
): Promise<void> {
  const version = newVersion();
  const tries = tryScript === undefined ? "" : readFileSync(tryScript, "utf8");
  const command = ["sh", "-c", readFileSync(SWITCH_SCRIPT, "utf8"), "switch", version, tries, ...topLevel(files)];
  await writeVolume(access, volume, volume.uid, command, async (helper) => {
    await volume.guard(helper);
    await helper.putArchive(archive(files, volume.uid, `${version}/`), { path: volume.folder });
    await helper.start();
    const { StatusCode } = await helper.wait();
    if (StatusCode === 0) return;
    const said = await lastLines(access.docker, helper.id, access.signal);
    throw new StateError(
      StatusCode === REFUSED
        ? `${volume.container} refused its new settings; nothing has been changed:\n${said}`
        : `The files of volume ${volume.volume} could not be replaced: ${said}`,
    );
  });
}

/**
 * The files that are in force, by path below a container's folder. A volume of an older release has them in the folder
 * itself.
 */
export async function readCurrent(
  container: Docker.Container,
  folder: string,
  signal?: AbortSignal,
): Promise<Record<string, string>> {
  const { files, links } = await readFolder(container, folder, signal);
  const version = links[CURRENT_VERSION];
  if (version === undefined) return { ...files };
  const prefix = `${version}/`;
  return Object.fromEntries(
    Object.entries(files)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, content]) => [name.slice(prefix.length), content]),
  );
}
