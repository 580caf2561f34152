import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import path from "node:path";
import { changedProperties, UNKNOWN, type Properties, type ResourceType } from "../resource.ts";

/** Files by name; each is written with mode 0600 under a temporary name and renamed, so that no half file is ever seen. */
async function write(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  for (const [name, content] of Object.entries(files)) {
    const target = path.join(directory, name);
    const temporary = `${target}.${process.pid}.tmp`;
    try {
      const handle = await open(temporary, "w", 0o600);
      try {
        await handle.writeFile(content);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }
}

function present(directory: string, files: Readonly<Record<string, string>>): boolean {
  return Object.entries(files).every(([name, content]) => {
    const file = path.join(directory, name);
    return existsSync(file) && readFileSync(file, "utf8") === content;
  });
}

/**
 * Certificates and keys of the client roles in a folder outside the checkout, for libpq and the PostgreSQL provider.
 * Inputs `directory` and `files` (secret); output `directory`. Missing or changed files are written again.
 */
export const clientFiles: ResourceType = {
  diff(olds: Properties, news: Properties) {
    const changed = changedProperties(olds, news);
    const known = typeof news["files"] === "object" && !Object.values(news["files"]).includes(UNKNOWN);
    if (changed.length === 0 && known && !present(news["directory"], news["files"])) return { changed: ["files"] };
    return { changed };
  },
  async create(inputs) {
    await write(inputs["directory"], inputs["files"]);
    return { id: inputs["directory"] };
  },
  async read(_id, state) {
    return present(state["directory"], state["files"]) ? state : { ...state, files: {} };
  },
  async update(_id, olds, news) {
    await write(news["directory"], news["files"]);
    const gone = Object.keys(olds["files"] ?? {}).filter(
      (name) => !(name in news["files"]) || olds["directory"] !== news["directory"],
    );
    for (const name of gone) await rm(path.join(olds["directory"], name), { force: true });
  },
  async delete(_id, state) {
    for (const name of Object.keys(state["files"] ?? {}))
      await rm(path.join(state["directory"], name), { force: true });
    // Only when nothing of the user's own is left in it.
    await rmdir(state["directory"]).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "ENOENT") throw error;
    });
  },
};
