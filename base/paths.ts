import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

const NAME = "ai-workflow-database";

/** Folders outside the checkout. They survive its deletion, and a new clone finds them. */
export interface Folders {
  /** Can be deleted at any time: built programs, downloads. */
  readonly cache: string;
  /** Pulumi's file backend, the record of the private engine, and how set-up got each part. */
  readonly state: string;
  /** What can't be made again: passphrases, client certificates, the private engine's volumes. */
  readonly data: string;
}

/**
 * The package's folders by the XDG rules.
 *
 * @see https://specifications.freedesktop.org/basedir-spec/latest/
 */
export function folders(env: NodeJS.ProcessEnv = process.env): Folders {
  const home = env["HOME"] || homedir();
  // The specification says that a relative path is to be ignored.
  const base = (value: string | undefined, fallback: string) =>
    join(value !== undefined && isAbsolute(value) ? value : join(home, fallback), NAME);
  return {
    cache: base(env["XDG_CACHE_HOME"], ".cache"),
    state: base(env["XDG_STATE_HOME"], ".local/state"),
    data: base(env["XDG_DATA_HOME"], ".local/share"),
  };
}

/** Makes a folder that only this user may look into, and returns it. */
export function privateFolder(...parts: [string, ...string[]]): string {
  const path = join(...parts);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}
