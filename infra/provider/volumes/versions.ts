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
 * All files of one state lie in one folder, `.version-…`, and servers read them through links: `tls` is a link to
 * `.current/tls`, and `.current` one to the folder. Whatever changes, certificates and their keys among it, takes effect by
 * the one rename that replaces `.current`.
 */
const VERSION_PREFIX = ".version-";
/** Link to the one folder whose files are in force. */
export const CURRENT_VERSION = ".current";

/** Puts a version in force, in a folder that has it. */
export const SWITCH_SCRIPT = path.join(PACKAGE_ROOT, "infra/provider/volumes/switch.sh");
/** Exit code of the script where the version was tried and refused. */
const REFUSED = 9;

/** A volume of files in versions. */
export interface VersionedVolume extends MountedVolume {
  /** Account whom the files belong to. */
  readonly uid: number;
  /** Refuses a volume that must not be written, before anything is written. */
  readonly guard: (helper: Docker.Container) => Promise<void>;
}

const newVersion = () => `${VERSION_PREFIX}${Date.now().toString(36)}`;
const topLevel = (files: Files) => [...new Set(Object.keys(files).map((name) => name.split("/")[0] ?? name))];

/** First fill: nobody reads the files yet. */
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
 * Replaces files under a server that may be running: all are written beside the old ones first, tried, then put in force
 * at once, so that a full disk or a kill leaves either the old or the new ones, never a certificate without its key.
 *
 * @param tryScript file of a script that tries them, where something can
 * @throws StateError when they are refused, or could not be put in force
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

/** The files in force in a container's folder, by path below it; a volume of an older release has them in the folder itself. */
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
