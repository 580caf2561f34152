import { join } from "node:path";
import { debianBase, postgresBase } from "./base.ts";
import { buildContext, buildImage, findImage, follow, type Image, type ImageOptions } from "./build.ts";
import { IMAGE_KINDS, imageFiles, imageTag, type ImageKind } from "./tag.ts";
import { messageOf } from "../../base/errors.ts";
import { reportWaiting, withLock } from "../../base/lock.ts";
import { engineInfo } from "../machine.ts";
import { folders } from "../../base/paths.ts";
import { step } from "../../base/progress.ts";
import { reachable } from "../reachable.ts";
import { versions } from "../../base/versions.ts";

const OFFICIAL: Record<ImageKind, string> = {
  postgres: versions.images.postgres.official,
  pgbouncer: versions.images.debian.official,
};

const FROM_PACKAGES = { postgres: postgresBase, pgbouncer: debianBase };

/** Pulls the official base if the engine does not have it; false where no registry gives it. */
async function pullOfficial(name: string, { docker, report }: ImageOptions): Promise<boolean> {
  if ((await findImage(docker, name)) !== undefined) return true;
  const mirrors = (await engineInfo(docker)).RegistryConfig?.Mirrors ?? [];
  if (mirrors.length === 0 && !(await reachable("images"))) return false;
  try {
    await step(report, `${name}: downloading`, async () => follow(docker, await docker.pull(name)));
    return true;
  } catch (error) {
    report(`${name}: no registry gives it (${messageOf(error)}); its base is built from packages`);
    return false;
  }
}

/** The image, built first if the engine does not have it. */
export async function ensureImage(kind: ImageKind, options: ImageOptions): Promise<Image> {
  const { docker, report } = options;
  const tag = imageTag(kind);
  const found = await findImage(docker, tag);
  if (found !== undefined) return found;
  const build = async (): Promise<Image> => {
    const built = await findImage(docker, tag);
    if (built !== undefined) return built;
    const official = await pullOfficial(OFFICIAL[kind], options);
    const origin = official ? "official" : "packages";
    const base = official ? OFFICIAL[kind] : await FROM_PACKAGES[kind](options);
    await step(report, `${tag}: building on ${base}`, () =>
      buildImage(docker, buildContext(imageFiles(kind)), tag, base, origin),
    );
    return { tag, way: "built", base: origin };
  };
  const lock = join(folders().cache, ".locks", `image-${kind}`);
  return await withLock(lock, build, reportWaiting(tag, report));
}

/** All of the project's images, built side by side. */
export async function ensureImages(options: ImageOptions): Promise<Record<ImageKind, Image>> {
  const images = await Promise.all(IMAGE_KINDS.map(async (kind) => [kind, await ensureImage(kind, options)] as const));
  return Object.fromEntries(images) as Record<ImageKind, Image>;
}
