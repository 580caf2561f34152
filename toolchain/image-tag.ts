import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT, versions } from "./versions.ts";

/** The project's own images. */
export const IMAGE_KINDS = ["postgres", "pgbouncer"] as const;
export type ImageKind = (typeof IMAGE_KINDS)[number];

/** Everything images are made from. */
export interface ImageSources {
  /** Folder with one folder per image. @default infra/images */
  readonly images?: string;
  /** Folder of the stand-in for the official PostgreSQL image. @default toolchain/postgres-base */
  readonly postgresBase?: string;
}

/** Folder with an image's Dockerfile and scripts. */
export function imageFolder(kind: ImageKind, sources: ImageSources = {}): string {
  return join(sources.images ?? join(PACKAGE_ROOT, "infra/images"), kind);
}

/** Folder of the stand-in for the official PostgreSQL image. */
export const POSTGRES_BASE_FOLDER = join(PACKAGE_ROOT, "toolchain/postgres-base");

/** Names and content of all files of a folder, and further text, as a short hash. */
export function shortHash(folders: readonly string[], more: unknown): string {
  const hash = createHash("sha256").update(JSON.stringify(more));
  for (const folder of folders) {
    for (const name of readdirSync(folder).toSorted()) {
      hash.update(`\0${name}\0`).update(readFileSync(join(folder, name)));
    }
  }
  return hash.digest("hex").slice(0, 12);
}

/**
 * Name and tag of an image. The tag is a hash of what goes in, so that a changed Dockerfile shows in the preview and an
 * unchanged one never rebuilds. Read from files only: previews work without the engine.
 *
 * Which base was taken, official or from packages, is a label of the image instead: that is the machine's matter, and one
 * program must give one plan everywhere.
 */
export function imageTag(kind: ImageKind, sources: ImageSources = {}): string {
  const { postgres, debian, pgbouncer, postgresServer, postgresClients } = versions.images;
  const folder = imageFolder(kind, sources);
  if (kind === "pgbouncer") return `ai-workflow-database/pgbouncer:1-${shortHash([folder], [debian, pgbouncer])}`;
  const base = sources.postgresBase ?? POSTGRES_BASE_FOLDER;
  return `ai-workflow-database/postgres:${postgres.major}-${shortHash([folder, base], [postgres, debian, postgresServer, postgresClients])}`;
}
