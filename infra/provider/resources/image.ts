import { findImage } from "../../../toolchain/images/build.ts";
import type { ImageKind } from "../../../toolchain/images/tag.ts";
import { engine } from "../../../toolchain/engine/containers.ts";
import { changedProperties, type Reporter, type ResourceType } from "../resource.ts";

async function ensure(kind: ImageKind, report: Reporter): Promise<void> {
  const { ensureImage } = await import("../../../toolchain/images/ensure.ts"); // here, because no preview builds
  await ensureImage(kind, { docker: engine(), report: (line) => report.status(line) });
}

/**
 * One of the package's two images, built on the engine if it does not have it yet. Inputs `kind` and `tag`; the tag is a
 * hash over what goes in, so that a changed Dockerfile shows in the preview and an unchanged one is never built again.
 *
 * Images stay on the engine when a stack goes: other stacks use them too.
 */
export const image: ResourceType = {
  diff: (olds, news) => ({ changed: changedProperties(olds, news) }),
  async create({ kind, tag }, report) {
    await ensure(kind, report);
    return { id: tag };
  },
  async read(_id, state) {
    return (await findImage(engine(), state["tag"])) ? state : undefined;
  },
  async update(_id, _olds, { kind }, report) {
    await ensure(kind, report);
  },
};
