import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { folders } from "../base/paths.ts";
import { run } from "./command.ts";

const FOLDER = join(import.meta.dirname, "python");

/**
 * Python with the packages of a requirements file, in the user's cache folder.
 *
 * @param name begins the folder's name
 */
export async function pythonWith(requirements: string, name: string): Promise<string> {
  const hash = createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 16);
  const folder = join(folders().cache, `${name}-${hash}`);
  if (!existsSync(folder)) {
    const half = `${folder}.${process.pid}`; // renamed when it is whole; Python finds its packages from where it lies
    await run("python3", ["-m", "venv", half]);
    await run(join(half, "bin/python"), [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--disable-pip-version-check",
      "-r",
      requirements,
    ]);
    renameSync(half, folder);
  }
  return join(folder, "bin/python");
}

/** Runs a task of bench/python/compare.py and returns its time in milliseconds. */
export async function comparePython(task: "alembic" | "create_all", args: readonly string[]): Promise<number> {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };
  const output = await run(
    await pythonWith(join(FOLDER, "requirements.txt"), "bench-python"),
    [join(FOLDER, "compare.py"), task, ...args],
    { env },
  );
  return Number(output.trim().split("\n").at(-1)) * 1_000;
}
