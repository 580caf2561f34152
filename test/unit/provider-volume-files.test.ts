import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SWITCH_SCRIPT } from "../../infra/provider/volumes/versions.ts";

const NAMES = ["postgresql.conf", "tls"];
/** The programs of the script; each of their calls is a moment at which the machine may be cut off. */
const PROGRAMS = ["sync", "ln", "mv", "rm", "find"];

let home: string;
let volume: string;
let programs: string;

beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), "volume-files-"));
  volume = path.join(home, "volume");
  programs = path.join(home, "bin");
  mkdirSync(volume);
  mkdirSync(programs);
  for (const program of PROGRAMS) {
    const real = spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" }).stdout.trim();
    // Counts the call, ends the script before it when its turn has come, and shows what a server would read after it.
    writeFileSync(
      path.join(programs, program),
      `#!/bin/sh\nn=$(($(cat ${home}/calls) + 1)); echo $n >${home}/calls\n[ $n -ne "$CUT_OFF" ] || { kill -9 $PPID; exit 1; }\n${real} "$@"\n`,
    );
    chmodSync(path.join(programs, program), 0o755);
  }
});
afterEach(() => {
  rmSync(home, { recursive: true });
});

function write(folder: string, mark: string): void {
  mkdirSync(path.join(volume, folder, "tls"), { recursive: true });
  writeFileSync(path.join(volume, folder, "postgresql.conf"), mark);
  for (const name of ["server.crt", "server.key"]) writeFileSync(path.join(volume, folder, "tls", name), mark);
}

/** The script, by itself and with nothing that tries the version, as a shell gets it. */
const switching = (version: string, names: readonly string[]) => [
  "-c",
  readFileSync(SWITCH_SCRIPT, "utf8"),
  "switch",
  version,
  "",
  ...names,
];

/** Runs the script, killed at its n-th call. Returns whether it came to its end. */
function run(version: string, cutOffAt = 0): boolean {
  writeFileSync(path.join(home, "calls"), "0");
  const { status } = spawnSync("sh", switching(version, NAMES), {
    cwd: volume,
    env: { PATH: `${programs}:${process.env["PATH"]}`, CUT_OFF: String(cutOffAt) },
  });
  return status === 0;
}

const inForce = (): string[] =>
  ["postgresql.conf", "tls/server.crt", "tls/server.key"].map((name) => readFileSync(path.join(volume, name), "utf8"));
const entries = () => readdirSync(volume).sort();

describe("files of a volume are put in force", () => {
  beforeEach(() => {
    write(".version-old", "old");
    run(".version-old");
  });

  test("all at once, and the old ones go", () => {
    write(".version-new", "new");
    expect(run(".version-new")).toBe(true);
    expect(inForce()).toEqual(["new", "new", "new"]);
    expect(entries()).toEqual([".current", ".version-new", "postgresql.conf", "tls"]);
    expect(lstatSync(path.join(volume, ".current")).isSymbolicLink()).toBe(true);
  });

  test("or not at all when the run is killed, at whatever point; the next run goes on from there", () => {
    const seen = new Set<string>();
    for (let at = 1; ; at += 1) {
      write(".version-new", "new");
      const finished = run(".version-new", at);
      const now = inForce();
      expect(new Set(now).size, `killed at call ${at}`).toBe(1);
      seen.add(now[0] ?? "");
      write(`.version-old`, "old");
      expect(run(".version-old")).toBe(true);
      expect(inForce()).toEqual(["old", "old", "old"]);
      expect(entries()).toEqual([".current", ".version-old", "postgresql.conf", "tls"]);
      if (finished) break;
      expect(at).toBeLessThan(20);
    }
    expect([...seen].sort()).toEqual(["new", "old"]);
  });

  test("without names that are no more, and with ones that are new", () => {
    write(".version-new", "new");
    rmSync(path.join(volume, ".version-new/postgresql.conf"));
    writeFileSync(path.join(volume, ".version-new/pg_hba.conf"), "new");
    spawnSync("sh", switching(".version-new", ["pg_hba.conf", "tls"]), { cwd: volume });
    expect(entries()).toEqual([".current", ".version-new", "pg_hba.conf", "tls"]);
    expect(readFileSync(path.join(volume, "pg_hba.conf"), "utf8")).toBe("new");
  });
});

test("a volume of an older release, whose files lie in their places themselves, is taken over", () => {
  write(".", "old");
  write(".version-new", "new");
  expect(run(".version-new")).toBe(true);
  expect(inForce()).toEqual(["new", "new", "new"]);
  expect(entries()).toEqual([".current", ".version-new", "postgresql.conf", "tls"]);
  expect(existsSync(path.join(volume, ".old-tls"))).toBe(false);
});
