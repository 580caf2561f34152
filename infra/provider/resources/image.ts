import { findImage } from "../../../toolchain/image-build.ts";
import { ensureImage } from "../../../toolchain/images.ts";
import { engine } from "../engine.ts";
import { changedProperties, type ResourceType } from "../resource.ts";

/**
 * One of the package's two images, built on the engine if it does not have it yet. Inputs `kind` and `tag`; the tag is a
 * hash over what goes in, so that a changed Dockerfile shows in the preview and an unchanged one is never built again.
 *
 * Images stay on the engine when a stack goes: other stacks use them too.
 */
export const image: ResourceType = {
  diff: (olds, news) => ({ changed: changedProperties(olds, news) }),
  async create({ kind, tag }, report) {
    await ensureImage(kind, { docker: engine(), report: (line) => report.status(line) });
    return { id: tag };
  },
  async read(_id, state) {
    return (await findImage(engine(), state["tag"])) ? state : undefined;
  },
  async update(_id, _olds, { kind }, report) {
    await ensureImage(kind, { docker: engine(), report: (line) => report.status(line) });
  },
};
