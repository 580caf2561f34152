import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PACKAGE_ROOT, versions } from "../../base/versions.ts";

let folder: string;
const pinned = versions.node.version;

const root = () => join(folder, "checkout");
const cachedNode = () => join(folder, "cache/ai-workflow-database", `node-${pinned}`, "bin/node");

function program(path: string, script: string): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

/** A Node that says its version and, given a program, prints that and the arguments. */
function node(version: string): string {
  return `case $1 in --version) echo v${version} ;; *) echo "node ${version}: $*" ;; esac`;
}

/** An npm that writes down what it is asked to do and "installs" what the lock file names. */
const npm = (exitCode = 0) => `
echo "npm $* in $PWD with $(node --version)" >>"${folder}/npm.log"
[ ${exitCode} = 0 ] || exit ${exitCode}
mkdir -p node_modules/.bin
package=$(sed -n 's/.*"node_modules\\/\\(node-linux-[a-z0-9]*\\)".*/\\1/p' package-lock.json)
[ -z "$package" ] && exit 0
mkdir -p "node_modules/$package/bin"
cat >"node_modules/$package/bin/node" <<'END'
#!/bin/sh
${node(pinned)}
END
chmod +x "node_modules/$package/bin/node"`;

const npmCalls = () =>
  existsSync(join(folder, "npm.log")) ? readFileSync(join(folder, "npm.log"), "utf8").trim().split("\n").length : 0;

/** Only the programs below and the system's own: no Node of this machine. */
const environment = () => ({
  HOME: folder,
  XDG_CACHE_HOME: join(folder, "cache"),
  PATH: `${folder}/path:${folder}/system`,
});

function launch(args: string[] = [], from = join(root(), "bin/aiwdb")) {
  const { status, stdout, stderr } = spawnSync(from, args, { env: environment(), cwd: folder, encoding: "utf8" });
  return { status, stdout: stdout.trim(), stderr: stderr.trim() };
}

function launchInBackground(): ChildProcessByStdio<null, null, Readable> {
  return spawn(join(root(), "bin/aiwdb"), { env: environment(), cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aiwdb-launcher-"));
  for (const part of ["base", "bin", "cli", "node_modules/.bin"]) mkdirSync(join(root(), part), { recursive: true });
  copyFileSync(join(PACKAGE_ROOT, "bin/aiwdb"), join(root(), "bin/aiwdb"));
  copyFileSync(join(PACKAGE_ROOT, "base/versions.json"), join(root(), "base/versions.json"));
  writeFileSync(join(root(), "package-lock.json"), "{}");
  mkdirSync(join(folder, "system"));
  const needed = [
    "sh",
    "sed",
    "sort",
    "head",
    "cat",
    "cksum",
    "dirname",
    "readlink",
    "find",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "ln",
    "uname",
    "tr",
    "sleep",
    "chmod",
    "env",
  ];
  for (const name of needed) {
    const path = ["/bin", "/usr/bin"].map((place) => join(place, name)).find((file) => existsSync(file));
    if (path !== undefined) symlinkSync(path, join(folder, "system", name));
  }
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A machine npm has a Node for, whatever the tests run on. */
const linux = () => program(join(folder, "path/uname"), '[ "$1" = -s ] && echo Linux || echo x86_64');

test("runs on a Node on PATH that is new enough, passing the arguments on", () => {
  program(join(folder, "path/node"), node(versions.node.minimum));
  program(join(folder, "path/npm"), npm());
  expect(launch(["status", "--json", "a b"])).toMatchObject({
    status: 0,
    stdout: `node ${versions.node.minimum}: ${root()}/cli/main.ts status --json a b`,
  });
  expect(npmCalls()).toBe(1);
});

test("finds the checkout through symbolic links, from any folder", () => {
  program(join(folder, "path/node"), node("24.1.0"));
  program(join(folder, "path/npm"), npm());
  symlinkSync("checkout/bin", join(folder, "link"));
  symlinkSync("link/aiwdb", join(folder, "aiwdb"));
  expect(launch([], join(folder, "aiwdb")).stdout).toBe(`node 24.1.0: ${root()}/cli/main.ts`);
});

test("installs the dependencies only when the lock file changed", () => {
  program(join(folder, "path/node"), node("24.1.0"));
  program(join(folder, "path/npm"), npm());
  expect(launch().stderr).toBe("· npm dependencies: installing");
  expect(launch().stderr).toBe("");
  writeFileSync(join(root(), "package-lock.json"), '{ "changed": true }');
  expect(launch().stderr).toBe("· npm dependencies: installing");
  expect(npmCalls()).toBe(2);
});

test("installs again after an installation that failed", () => {
  program(join(folder, "path/node"), node("24.1.0"));
  program(join(folder, "path/npm"), npm(1));
  expect(launch()).toMatchObject({ status: 1, stdout: "" });
  program(join(folder, "path/npm"), npm());
  expect(launch().status).toBe(0);
  expect(npmCalls()).toBe(2);
});

describe("the lock on the installation", () => {
  const hold = (holder: string) => {
    program(join(folder, "path/node"), node("24.1.0"));
    program(join(folder, "path/npm"), npm(1));
    launch();
    const locks = join(folder, "cache/ai-workflow-database/.locks");
    const key = spawnSync("sh", ["-c", "echo \"$1\" | cksum | tr ' ' -", "sh", root()], {
      encoding: "utf8",
    }).stdout.trim();
    const file = join(locks, `npm-${key}`);
    symlinkSync(holder, file);
    program(join(folder, "path/npm"), npm());
    return file;
  };
  const space = () =>
    `${spawnSync("uname", ["-n"], { encoding: "utf8" }).stdout.trim()}#${readlinkSync("/proc/self/ns/pid")}`;
  const LONG_AGO = new Date(Date.now() - 3_600_000);

  test("is taken over from one that was killed", () => {
    hold(`${space()}#${spawnSync("true").pid}`);
    expect(launch()).toMatchObject({ status: 0, stderr: "· npm dependencies: installing" });
  });

  test("is taken over from one of another machine or container after ten minutes", () => {
    const file = hold("elsewhere#pid:[1]#7");
    lutimesSync(file, LONG_AGO, LONG_AGO);
    expect(launch()).toMatchObject({ status: 0, stderr: "· npm dependencies: installing" });
  });

  test("is waited for, whose process numbers say nothing here, and said so once", async () => {
    const file = hold(`elsewhere#pid:[1]#${spawnSync("true").pid}`);
    const waiting = launchInBackground();
    const [line] = (await once(waiting.stderr, "data")) as [Buffer];
    expect(line.toString()).toMatch(
      /^· npm dependencies: waiting for process \d+ on elsewhere, which installs them\n$/,
    );
    rmSync(file);
    expect(await once(waiting, "exit")).toEqual([0, null]);
  });
});

test("says what to do without Node and npm", () => {
  const { status, stdout, stderr } = launch();
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr).toMatch(
    /^aiwdb: Node 22\.18\.0 or later is needed, and no npm is on PATH to fetch one\. Install Node: \S+$/,
  );
});

test("fetches the pinned Node once where PATH has an older one, and installs with it", () => {
  linux();
  program(join(folder, "path/node"), node("20.20.2"));
  program(join(folder, "path/npm"), npm());
  const first = launch(["x"]);
  expect(first.stdout).toBe(`node ${pinned}: ${root()}/cli/main.ts x`);
  expect(first.stderr).toContain(`Node ${pinned}: fetching from npm (none on PATH is 22.18.0 or later)`);
  expect(readFileSync(join(folder, "npm.log"), "utf8")).toContain(`in ${root()} with v${pinned}`);
  expect(launch(["x"])).toMatchObject({ stdout: first.stdout, stderr: "" });
});

test.each([
  ["empty", ""],
  ["of another version", `#!/bin/sh\n${node("22.0.0")}\n`],
])("fetches the pinned Node again when the cached one is %s", (_what, content) => {
  linux();
  program(join(folder, "path/npm"), npm());
  program(join(folder, "path/node"), node("18.0.0"));
  launch();
  writeFileSync(cachedNode(), content);
  expect(launch()).toMatchObject({ status: 0, stdout: `node ${pinned}: ${root()}/cli/main.ts` });
});

test("leaves nothing in the cache when the pinned Node can't be fetched", () => {
  linux();
  program(join(folder, "path/npm"), npm(1));
  program(join(folder, "path/node"), node("18.0.0"));
  expect(launch().stderr).toMatch(/npm could not fetch node-linux-\w+ 22\.23\.3\. Install Node/);
  expect(spawnSync("ls", ["-A", join(folder, "cache/ai-workflow-database")], { encoding: "utf8" }).stdout).toBe("");
});
