import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT, versions } from "../../base/versions.ts";

/** The project's own images. */
export const IMAGE_KINDS = ["postgres", "pgbouncer"] as const;
export type ImageKind = (typeof IMAGE_KINDS)[number];

/** Everything images are made from. */
export interface ImageSources {
  /** Folder with one folder a server. @default infra/servers */
  readonly servers?: string;
  /** Folder of the stand-in for the official PostgreSQL image. @default toolchain/images/postgres-base */
  readonly postgresBase?: string;
}

/** Servers whose scripts an image has. Its Dockerfile is the first one's. */
const SERVERS: Readonly<Record<ImageKind, readonly string[]>> = {
  postgres: ["postgres", "maintenance"],
  pgbouncer: ["pgbouncer"],
};

/** Files that an image is built from: its Dockerfile and scripts, by their names in the build. */
export function imageFiles(kind: ImageKind, sources: ImageSources = {}): ReadonlyMap<string, string> {
  const servers = sources.servers ?? join(PACKAGE_ROOT, "infra/servers");
  return new Map(SERVERS[kind].flatMap((server) => filesOf(join(servers, server, "image"))));
}

function filesOf(folder: string): [name: string, file: string][] {
  return readdirSync(folder).map((name) => [name, join(folder, name)]);
}

/** Files of the stand-in for the official PostgreSQL image. */
export function postgresBaseFiles({ postgresBase }: ImageSources = {}): ReadonlyMap<string, string> {
  return new Map(filesOf(postgresBase ?? join(PACKAGE_ROOT, "toolchain/images/postgres-base")));
}

/** Names and content of groups of files, and further text, as a short hash. */
export function shortHash(groups: readonly ReadonlyMap<string, string>[], more: unknown): string {
  const hash = createHash("sha256").update(JSON.stringify(more));
  for (const files of groups) {
    for (const [name, file] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      hash.update(`\0${name}\0`).update(readFileSync(file));
    }
  }
  return hash.digest("hex").slice(0, 12);
}

/**
 * Name and tag of an image. The tag is a hash of what goes in, so that a changed Dockerfile shows in the preview and an
 * unchanged one never rebuilds. Read from files only: previews work without the engine.
 *
 * Which base was taken, official or from packages, is a label of the image instead: that is the machine's matter, and
 * one program must give one plan everywhere.
 */
export function imageTag(kind: ImageKind, sources: ImageSources = {}): string {
  const { postgres, debian, pgbouncer, postgresServer, postgresClients } = versions.images;
  const files = imageFiles(kind, sources);
  if (kind === "pgbouncer") return `ai-workflow-database/pgbouncer:1-${shortHash([files], [debian, pgbouncer])}`;
  const base = postgresBaseFiles(sources);
  return `ai-workflow-database/postgres:${postgres.major}-${shortHash([files, base], [postgres, debian, postgresServer, postgresClients])}`;
}
