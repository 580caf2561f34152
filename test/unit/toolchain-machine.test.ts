import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkClock, checkCpus, checkDisk, checkEngineVersion, checkNode } from "../../toolchain/machine.ts";

test("looks at the disk of a folder that is not made yet", async () => {
  const places = { "cache folder": join(tmpdir(), "not/made/yet") };
  expect(await checkDisk(places, 1)).toEqual([]);
  const [problem] = await checkDisk(places, Number.MAX_SAFE_INTEGER);
  expect(problem?.subject).toBe("cache folder");
  expect(problem?.problem).toMatch(/not\/made\/yet has [\d.]+ GiB free; at least [\d.]+ are needed/);
});

const now = Date.parse("2026-01-01T00:00:00Z");

test("accepts clocks half a minute apart, and no more", () => {
  expect(checkClock({ SystemTime: "2026-01-01T00:00:29Z" }, now)).toEqual([]);
  expect(checkClock({ SystemTime: "2026-01-01T00:02:00Z" }, now)[0]?.problem).toContain("120 s ahead of");
  expect(checkClock({ SystemTime: "2025-12-31T23:58:00Z" }, now)[0]?.problem).toContain("120 s behind");
});

test("refuses an engine that is too old or runs no Linux containers", () => {
  expect(checkEngineVersion({ ServerVersion: "20.10.24+dfsg1", OSType: "linux" })).toEqual([]);
  expect(checkEngineVersion({ ServerVersion: "19.03.15", OSType: "linux" })[0]?.problem).toBe(
    "version 19.03.15 is older than 20.10.0",
  );
  expect(checkEngineVersion({ ServerVersion: "28.0.0", OSType: "windows" })[0]?.problem).toBe(
    "runs windows containers",
  );
});

test("names every CPU limit above what the engine has", () => {
  const limits = { postgresCpus: 2, pgbouncerCpus: 1 };
  expect(checkCpus({ NCPU: 2 }, limits)).toEqual([]);
  expect(checkCpus({ NCPU: 1 }, limits)).toMatchObject([
    { subject: "postgresCpus", problem: "2 is above the 1 CPU the Docker Engine has" },
  ]);
});

test("refuses a Node that is too old", () => {
  expect(checkNode("22.18.0")).toEqual([]);
  expect(checkNode("20.20.2")[0]?.problem).toBe("version 20.20.2 is older than 22.18.0");
});
