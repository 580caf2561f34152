import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { dirname } from "node:path";
import pinned from "./versions.json" with { type: "json" };

/** Every pinned part: name, version, source and checksum. */
export const versions = pinned;

/** By the search for it: in the bundle this code is in another folder than in the checkout. */
const MANIFEST = findPackageJSON("..", import.meta.url) as string;

/** The checkout (or installed package) this file belongs to. */
export const PACKAGE_ROOT = dirname(MANIFEST);

/** The exact version of an npm package this package depends on. */
export function dependencyVersion(name: string): string {
  const manifest = JSON.parse(readFileSync(MANIFEST, "utf8")) as { dependencies: Record<string, string> };
  const version = manifest.dependencies[name];
  if (version === undefined) throw new Error(`package.json does not depend on ${name}`);
  return version;
}

function numbers(text: string): number[] {
  return (/\d+(\.\d+)*/.exec(text)?.[0] ?? "").split(".").map(Number);
}

/**
 * Whether a version such as `v3.259.0`, `1.26` or `20.10.24+dfsg1` is at least the minimum. Missing parts count as 0.
 */
export function atLeast(version: string, minimum: string): boolean {
  const [have, need] = [numbers(version), numbers(minimum)];
  const differences = need.map((part, index) => (have[index] ?? 0) - part);
  return (differences.find((difference) => difference !== 0) ?? 0) >= 0;
}
