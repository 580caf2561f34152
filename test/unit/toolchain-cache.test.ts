import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { cached, findCached } from "../../toolchain/cache.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "aiwdb-cache-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const entry = { name: "tool", key: "1" };
let builds = 0;
async function build(folder: string): Promise<void> {
  builds++;
  mkdirSync(join(folder, "bin"));
  writeFileSync(join(folder, "bin/tool"), "program", { mode: 0o755 });
}
beforeEach(() => {
  builds = 0;
});
const getEntry = () => cached(entry, build, { root });

test("builds an entry once", async () => {
  const first = await getEntry();
  expect(await getEntry()).toBe(first);
  expect(first).toBe(join(root, "tool"));
  expect(builds).toBe(1);
});

test("rebuilds an entry made from something else", async () => {
  await getEntry();
  await cached({ name: "tool", key: "2" }, build, { root });
  expect(builds).toBe(2);
});

const damages: Record<string, (file: string) => void> = {
  "a missing file": (file) => rmSync(file),
  "a truncated file": (file) => truncateSync(file, 3),
  "a file changed in place": (file) => writeFileSync(file, "PROGRAM"),
  "no checksums": () => rmSync(join(root, "tool/.checksums.json")),
  "half-written checksums": () => truncateSync(join(root, "tool/.checksums.json"), 20),
};
for (const [damage, inflict] of Object.entries(damages)) {
  test(`rebuilds an entry with ${damage}`, async () => {
    await getEntry();
    inflict(join(root, "tool/bin/tool"));
    expect(await findCached(entry, { root })).toBeUndefined();
    expect(readFileSync(join(await getEntry(), "bin/tool"), "utf8")).toBe("program");
    expect(builds).toBe(2);
  });
}

test("sees a flipped byte behind an unchanged size and time when it looks thoroughly", async () => {
  const file = join(await getEntry(), "bin/tool");
  const time = new Date(1_700_000_000_000);
  utimesSync(file, time, time);
  await cached({ name: "tool", key: "again" }, build, { root });
  const checksums = join(root, "tool/.checksums.json");
  writeFileSync(file, "pr0gram");
  utimesSync(file, time, time);
  const content = JSON.parse(readFileSync(checksums, "utf8")) as { files: Record<string, { mtimeMs: number }> };
  for (const record of Object.values(content.files)) record.mtimeMs = time.getTime();
  writeFileSync(checksums, JSON.stringify(content));

  const again = { name: "tool", key: "again" };
  expect(await findCached(again, { root })).toBe(join(root, "tool"));
  expect(await findCached(again, { root, thorough: true })).toBeUndefined();
});

test("keeps a copied entry, whose times differ but whose checksums agree", async () => {
  const file = join(await getEntry(), "bin/tool");
  utimesSync(file, new Date(0), new Date(0));
  await getEntry();
  expect(builds).toBe(1);
});

async function failing(folder: string): Promise<void> {
  await build(folder);
  throw new Error("no compiler");
}

test("leaves nothing under the entry's name when the build fails, and builds again", async () => {
  await expect(cached(entry, failing, { root })).rejects.toThrow("no compiler");
  expect(existsSync(join(root, "tool"))).toBe(false);
  expect(readdirSync(join(root, ".tmp"))).toEqual([]);
  await getEntry();
  expect(builds).toBe(2);
});

test("removes what a killed build of the entry left behind, but nothing of another entry", async () => {
  mkdirSync(join(root, ".tmp/tool/left/new"), { recursive: true });
  mkdirSync(join(root, ".tmp/other/left/new"), { recursive: true });
  await getEntry();
  expect(readdirSync(join(root, ".tmp"))).toEqual(["other"]);
});

test("a builder that lost its lock leaves the entry alone", async () => {
  const locks = join(root, ".locks");
  const losing = async (folder: string) => {
    await build(folder);
    // Another one took it: the time of the lock is not the holder's any more.
    utimesSync(join(locks, "tool.held"), new Date(), new Date());
    await vi.waitFor(() => expect(existsSync(join(root, "seen"))).toBe(true), { timeout: 60_000 });
  };
  const building = cached(entry, losing, { root, lock: { updateMs: 1_000 } });
  await expect(building).rejects.toThrow("The lock was lost, so that nothing more is changed:");
  writeFileSync(join(root, "seen"), "");
  await vi.waitFor(() => expect(readdirSync(join(root, ".tmp/tool"))).toEqual([]), { timeout: 60_000 });
  expect(existsSync(join(root, "tool"))).toBe(false);
});

test("makes a whole entry after a build that was killed together with its compiler", async () => {
  const cache = join(import.meta.dirname, "../../toolchain/cache.ts");
  const run = join(import.meta.dirname, "../../base/run.ts");
  // Writes half of the program, says so, and would go on.
  const compiler = `printf prog >"$1/bin/tool"; echo half >"$2"; exec sleep 60`;
  const script = `
    import { mkdirSync } from "node:fs";
    import { cached } from ${JSON.stringify(cache)};
    import { run } from ${JSON.stringify(run)};
    await cached({ name: "tool", key: "1" }, async (folder) => {
      mkdirSync(folder + "/bin");
      await run("sh", ["-c", ${JSON.stringify(compiler)}, "sh", folder, ${JSON.stringify(join(root, "half"))}]);
    }, { root: ${JSON.stringify(root)} });`;
  const builder = spawn(process.execPath, ["--input-type=module", "-e", script], { detached: true, stdio: "inherit" });
  await vi.waitFor(() => expect(existsSync(join(root, "half"))).toBe(true), { timeout: 100_000, interval: 10 });
  process.kill(-(builder.pid as number), "SIGKILL");
  await once(builder, "exit");

  expect(existsSync(join(root, "tool"))).toBe(false);
  expect(await findCached(entry, { root })).toBeUndefined();
  expect(readdirSync(join(root, ".tmp/tool"))).toHaveLength(1);
  expect(readFileSync(join(await getEntry(), "bin/tool"), "utf8")).toBe("program");
  expect(readdirSync(join(root, ".tmp"))).toEqual([]);
  expect(readdirSync(join(root, ".locks"))).toEqual([]);
});

async function slow(folder: string): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  await build(folder);
}

test("does not build the same entry twice at once", async () => {
  await Promise.all([cached(entry, slow, { root }), cached(entry, slow, { root }), cached(entry, slow, { root })]);
  expect(builds).toBe(1);
});
