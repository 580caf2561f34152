import { findImage } from "../../../toolchain/images/build.ts";
import type { ImageKind } from "../../../toolchain/images/tag.ts";
import { engine } from "../../../toolchain/engine/containers.ts";
import { byTheSame, type None, type Operation, type ResourceType } from "../resource.ts";

export interface ImageInputs {
  readonly kind: ImageKind;
  /**
   * A hash over everything that the image is made from. A changed Dockerfile shows in the preview, and an unchanged
   * image is not built again.
   */
  readonly tag: string;
}

async function ensure({ kind }: ImageInputs, { report }: Operation): Promise<None> {
  const { ensureImage } = await import("../../../toolchain/images/ensure.ts"); // here, because no preview builds
  await ensureImage(kind, { docker: engine(), report: report.status });
  return {};
}

/**
 * One of the package's two images, built on the engine if it does not have it yet.
 *
 * Images stay on the engine when a stack goes: other stacks use them too.
 */
export const image: ResourceType<ImageInputs> = {
  ...byTheSame(({ tag }) => tag, ensure),
  async read(_id, state) {
    return (await findImage(engine(), state.tag)) ? state : undefined;
  },
};
