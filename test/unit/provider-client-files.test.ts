import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UNKNOWN } from "../../infra/provider/resource.ts";
import { clientFiles as clientFilesType } from "../../infra/provider/resources/client-files.ts";
import { called, recorder } from "../helpers/provider.ts";

const quiet = recorder();
const clientFiles = called(clientFilesType);

describe("client files", () => {
  let parent: string;
  let directory: string;
  const files = { "ca.crt": "authority\n", "app_user.crt": "certificate\n", "app_user.key": "key\n" };
  const state = () => ({ directory, files });
  /** The names that clients use. */
  const visible = (folder: string) =>
    readdirSync(folder)
      .filter((name) => !name.startsWith("."))
      .sort();
  const writePlain = async (all: Record<string, string>) => {
    mkdirSync(directory, { recursive: true });
    for (const [name, content] of Object.entries(all)) writeFileSync(path.join(directory, name), content);
  };

  beforeEach(() => {
    parent = mkdtempSync(path.join(tmpdir(), "client-files-"));
    directory = path.join(parent, "stack", "certs");
  });
  afterEach(() => {
    rmSync(parent, { recursive: true });
  });

  test("are written so that only this user may read them, whatever the umask", async () => {
    const before = process.umask(0o000);
    try {
      await clientFiles.create(state(), quiet);
    } finally {
      process.umask(before);
    }
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const [name, content] of Object.entries(files)) {
      expect(statSync(path.join(directory, name)).mode & 0o777, name).toBe(0o600);
      expect(readFileSync(path.join(directory, name), "utf8")).toBe(content);
    }
    expect(visible(directory)).toEqual(Object.keys(files).sort());
  });

  test("close a folder that was open to others before", async () => {
    mkdirSync(directory, { recursive: true });
    chmodSync(directory, 0o755);
    await clientFiles.create(state(), quiet);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  test("are replaced as a whole: who has the old one open reads the old one to its end", async () => {
    await clientFiles.create(state(), quiet);
    const before = statSync(path.join(directory, "app_user.key")).ino;
    await clientFiles.update(
      directory,
      state(),
      { directory, files: { ...files, "app_user.key": "new key\n" } },
      quiet,
    );
    expect(statSync(path.join(directory, "app_user.key")).ino).not.toBe(before);
    expect(readFileSync(path.join(directory, "app_user.key"), "utf8")).toBe("new key\n");
    expect(statSync(path.join(directory, "app_user.key")).mode & 0o777).toBe(0o600);
  });

  test("keep the old ones, and leave nothing half written, when one cannot be replaced", async () => {
    await clientFiles.create({ directory, files: { "ca.crt": "old\n" } }, quiet);
    mkdirSync(path.join(directory, "app_user.key")); // a rename onto a folder fails
    const before = readdirSync(directory).sort();
    await expect(
      clientFiles.update(
        directory,
        { directory, files: { "ca.crt": "old\n" } },
        { directory, files: { "app_user.key": "key\n" } },
        quiet,
      ),
    ).rejects.toThrow(/app_user\.key is a folder/);
    expect(readdirSync(directory).sort()).toEqual(before);
    expect(visible(directory)).toEqual(["app_user.key", "ca.crt"]);
    expect(readFileSync(path.join(directory, "ca.crt"), "utf8")).toBe("old\n");
  });

  const versioned = (serial: number): Record<string, string> =>
    Object.fromEntries(
      Array.from({ length: 20 }, (_, role) => [
        [`role${role}.crt`, `${serial}`],
        [`role${role}.key`, `${serial}`],
      ]).flat() as [string, string][],
    );
  const sameVersion = (serials: string[]) => new Set(serials).size === 1;

  test.each([
    ["by the release before", (all: Record<string, string>) => writePlain(all)],
    ["by this one", (all: Record<string, string>) => clientFiles.create({ directory, files: all }, quiet)],
  ])(
    "that were written %s are replaced together: no reader finds a certificate beside another one's key",
    async (_, make) => {
      await make(versioned(1));
      const names = Object.keys(versioned(1));
      let serial = 1;
      // Reads of one turn of the event loop see what the writer had done at one moment.
      const seen: string[][] = [];
      const written = new AbortController();
      const look = (async () => {
        while (!written.signal.aborted) {
          seen.push(names.map((name) => readFileSync(path.join(directory, name), "utf8")));
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      for (; serial < 5; serial++)
        await clientFiles.update(
          directory,
          { directory, files: versioned(serial) },
          { directory, files: versioned(serial + 1) },
          quiet,
        );
      written.abort();
      await look;
      expect(seen.filter((serials) => !sameVersion(serials)).length).toBeLessThanOrEqual(4); // one a switch: it may fall into a read
      expect(readdirSync(directory).filter((name) => name.startsWith(".version-"))).toHaveLength(1);
      expect(readFileSync(path.join(directory, "role0.key"), "utf8")).toBe("5");
    },
  );

  test("of a write that was cut off are removed by the next one", async () => {
    await clientFiles.create(state(), quiet);
    mkdirSync(path.join(directory, ".version-cut"));
    writeFileSync(path.join(directory, ".version-cut", "app_user.key"), "never in force\n");
    symlinkSync(".version-cut", path.join(directory, ".next-.current"));
    await clientFiles.update(
      directory,
      state(),
      { directory, files: { ...files, "app_user.key": "new key\n" } },
      quiet,
    );
    expect(readFileSync(path.join(directory, "app_user.key"), "utf8")).toBe("new key\n");
    expect(readdirSync(directory).filter((name) => /cut|next/.test(name))).toEqual([]);
  });

  test("show a change when one is missing or was edited, and are written again", async () => {
    await clientFiles.create(state(), quiet);
    expect(await clientFiles.diff!(state(), state(), quiet)).toEqual({ changed: [] });
    rmSync(path.join(directory, "ca.crt"));
    expect(await clientFiles.diff!(state(), state(), quiet)).toEqual({ changed: ["files"] });
    await clientFiles.update(directory, state(), state(), quiet);
    expect(await clientFiles.diff!(state(), state(), quiet)).toEqual({ changed: [] });
    writeFileSync(path.join(directory, "app_user.crt"), "edited\n");
    expect(await clientFiles.diff!(state(), state(), quiet)).toEqual({ changed: ["files"] });
  });

  test("are not looked for in a preview that does not know them yet", async () => {
    const unknown = { directory, files: { "ca.crt": UNKNOWN } };
    expect(await clientFiles.diff!(unknown, unknown, quiet)).toEqual({ changed: [] });
  });

  test("show in a refresh that they are gone", async () => {
    await clientFiles.create(state(), quiet);
    expect(await clientFiles.read!(directory, state(), quiet)).toEqual(state());
    rmSync(path.join(directory, "ca.crt"));
    expect(await clientFiles.read!(directory, state(), quiet)).toEqual({ directory, files: {} });
  });

  test("go when a role goes, when the folder moves, and when the stack goes", async () => {
    await clientFiles.create(state(), quiet);
    const fewer = { directory, files: { "ca.crt": "authority\n" } };
    await clientFiles.update(directory, state(), fewer, quiet);
    expect(visible(directory)).toEqual(["ca.crt"]);
    const moved = { ...fewer, directory: path.join(parent, "moved") };
    await clientFiles.update(directory, fewer, moved, quiet);
    expect([existsSync(directory), visible(moved.directory)]).toEqual([false, ["ca.crt"]]);
    await clientFiles.delete!(moved.directory, moved, quiet);
    expect(existsSync(moved.directory)).toBe(false);
  });

  test("leave a file of the user's own, and its folder, when the stack goes", async () => {
    await clientFiles.create(state(), quiet);
    writeFileSync(path.join(directory, "mine.txt"), "mine");
    await clientFiles.delete!(directory, state(), quiet);
    expect(readdirSync(directory)).toEqual(["mine.txt"]);
    await clientFiles.delete!(
      path.join(parent, "never-there"),
      { directory: path.join(parent, "never-there"), files },
      quiet,
    );
  });
});
