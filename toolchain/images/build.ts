import { readdirSync, readFileSync } from "node:fs";
import type Docker from "dockerode";
import tar from "tar-stream";
import { askWithin } from "../engine/client.ts";
import { ToolError } from "../../base/errors.ts";
import type { Report, Way } from "../../base/progress.ts";
import { lastLinesOf } from "../../base/text-file.ts";

/** Where an image's base came from; a label of the image. */
export type BaseOrigin = "official" | "packages";
const BASE_LABEL = "ai-workflow-database.base";

/** An image that is there. */
export interface Image {
  readonly tag: string;
  readonly way: Way;
  readonly base: BaseOrigin | "unknown";
}

export interface ImageOptions {
  readonly docker: Docker;
  readonly report: Report;
}

interface BuildEvent {
  stream?: string;
  error?: string;
}

/** Whether the engine has the image, and from which base. */
export async function findImage(docker: Docker, tag: string): Promise<Image | undefined> {
  // The list, because the library cannot break off the question about a single image.
  const filters = { reference: [tag] };
  const [found] = await askWithin((options) => docker.listImages({ filters: JSON.stringify(filters), ...options }));
  if (found === undefined) return undefined;
  const base = (found.Labels as Record<string, string> | null)?.[BASE_LABEL];
  return { tag, way: "found", base: base === "official" || base === "packages" ? base : "unknown" };
}

/** Waits for the end of what the engine reports about a build, pull or import. */
export function follow(docker: Docker, stream: NodeJS.ReadableStream): Promise<BuildEvent[]> {
  return new Promise((resolve, reject) => {
    docker.modem.followProgress(stream, (error: Error | null, events: BuildEvent[]) =>
      error ? reject(error) : resolve(events),
    );
  });
}

/** What an image is built from: files by their names in the build, in one archive. */
export function buildContext(files: ReadonlyMap<string, string>): NodeJS.ReadableStream {
  const pack = tar.pack();
  for (const [name, file] of files) pack.entry({ name, mode: 0o644 }, readFileSync(file));
  pack.finalize();
  return pack;
}

/**
 * Builds an image. The tag is given by the engine at the very end, so that a build which is cut off leaves
 * nothing under it.
 *
 * @param context folder, or archive of files, with the Dockerfile
 */
export async function buildImage(
  docker: Docker,
  context: string | NodeJS.ReadableStream,
  tag: string,
  base: string,
  origin: BaseOrigin,
): Promise<void> {
  const stream = await docker.buildImage(
    typeof context === "string" ? { context, src: readdirSync(context) } : context,
    {
      t: tag,
      buildargs: { BASE: base },
      labels: { [BASE_LABEL]: origin },
      // Packages are fetched over the engine's own network; a private engine has no bridge to do so.
      networkmode: "host",
      rm: true,
      forcerm: true,
    },
  );
  const events = await follow(docker, stream);
  const failure = events.find((event) => event.error !== undefined)?.error;
  if (failure === undefined) return;
  const log = events.map((event) => event.stream ?? "").join("");
  throw new ToolError(`Image ${tag} can't be built: ${failure}\n${lastLinesOf(log, 15)}`);
}
