// How long does the first `npm run up` take where nothing is cached and no download host can be reached? It takes a
// fresh clone, an empty home, and empty caches of Go and npm. It builds for minutes, so run.ts does not run it:
// node bench/fresh-machine.ts
//
// The machine's own engine has the images already and may not be emptied. So set-up runs against a second engine, which
// has no networks or packet filters. The stack is then brought up in the first engine.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { askEngine } from "../toolchain/engine/client.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { describeMachine } from "./machine.ts";

const STACK = "pr-fresh";
const engineHost = process.env["DOCKER_HOST"];
if (engineHost === undefined) throw new Error("set DOCKER_HOST to the engine that the stack shall live in");

const lines: string[] = [];
function note(line: string): void {
  lines.push(line);
  process.stderr.write(`${line}\n`);
}

const folder = mkdtempSync("/var/tmp/bench-fresh-");
const home = join(folder, "home");
mkdirSync(home);
const clone = join(folder, "clone");
execFileSync("git", ["clone", "--quiet", PACKAGE_ROOT, clone]);

/** The environment of a user who has just logged in. The addresses of registries stay as the machine has them. */
function freshEnvironment(dockerHost: string): NodeJS.ProcessEnv {
  const own = dirname(process.execPath);
  const registries = {
    NPM_CONFIG_USERCONFIG: join(homedir(), ".npmrc"),
    GOENV: join(homedir(), ".config/go/env"),
    PIP_CONFIG_FILE: join(homedir(), ".config/pip/pip.conf"),
  };
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      !/^(XDG_|PULUMI_|AIWDB_|NODE_COMPILE_CACHE$|npm_(lifecycle|package|config_cache)|GO(PATH|CACHE|MODCACHE)$)/i.test(
        name,
      ),
  );
  const path = (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((entry) => entry !== own && !/node_modules|pulumi/.test(entry));
  return {
    ...Object.fromEntries(kept),
    ...Object.fromEntries(Object.entries(registries).filter(([, file]) => existsSync(file))),
    HOME: home,
    PATH: path.join(delimiter),
    DOCKER_HOST: dockerHost,
  };
}

/** Runs a command of the clone and notes each line of progress with the seconds since its start. */
async function stepByStep(
  title: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  expected: RegExp,
): Promise<number> {
  note(`\n## ${title}\n\n| s | |\n| --- | --- |`);
  const start = performance.now();
  const since = () => ((performance.now() - start) / 1_000).toFixed(0);
  const child = spawn("bin/aiwdb", args, { cwd: clone, env, stdio: ["ignore", "pipe", "pipe"] });
  let all = "";
  let rest = "";
  child.stdout.on("data", (chunk: Buffer) => (all += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => {
    all += chunk.toString();
    rest += chunk.toString();
    const whole = rest.split("\n");
    rest = whole.pop() ?? "";
    for (const line of whole)
      if (line.startsWith("· ")) note(`| ${since()} | ${line.slice(2).replaceAll(folder, "…")} |`);
  });
  await new Promise((resolve) => child.on("close", resolve));
  note(`| ${since()} | end |`);
  if (!expected.test(all)) throw new Error(`${title} failed:\n${all.slice(-2_000)}`);
  return (performance.now() - start) / 1_000;
}

const machine = await describeMachine();
const socket = join(folder, "docker.sock");
const second = `unix://${socket}`;
const started = performance.now();
const dockerd = spawn(
  "dockerd",
  [
    `--data-root=${join(folder, "data")}`,
    `--exec-root=${join(folder, "exec")}`,
    `--pidfile=${join(folder, "dockerd.pid")}`,
    `--host=${second}`,
    "--bridge=none",
    "--iptables=false",
    "--ip-masq=false",
  ],
  { stdio: "ignore" },
);
try {
  while ((await askEngine({ host: second }, 1_000)).state !== "answers") await sleep(50);
  const engineSec = (performance.now() - started) / 1_000;
  const setUpSec = await stepByStep(
    "Set-up",
    ["dev", "bench", "--", "none"],
    freshEnvironment(second),
    /There is no benchmark none/,
  );
  const stackSec = await stepByStep("The stack", ["up", "--stack", STACK], freshEnvironment(engineHost), /healthy/);
  const total = engineSec + setUpSec + stackSec;
  const text = [
    "# fresh-machine",
    "How long does the first `npm run up` take on a machine with Go, npm and an older Node, where only package registries can be reached and nothing is cached?",
    `${new Date().toISOString().slice(0, 10)}. ${machine}.`,
    `Starting an engine ${engineSec.toFixed(1)} s, set-up ${setUpSec.toFixed(0)} s, the stack ${stackSec.toFixed(0)} s: ${Math.floor(total / 60)} min ${Math.round(total % 60)} s in all. ` +
      "Debian's docker.io, mmdebstrap and their dependencies were installed already.",
    lines.join("\n").trim(),
  ].join("\n\n");
  process.stdout.write(`${text}\n`);
  writeFileSync(
    join(PACKAGE_ROOT, "bench/results", `${new Date().toISOString().slice(0, 10)}-fresh-machine.md`),
    `${text}\n`,
  );
} finally {
  if (lines.some((line) => line.includes("## The stack"))) {
    const down = spawn("bin/aiwdb", ["down", "--stack", STACK], {
      cwd: clone,
      env: freshEnvironment(engineHost),
      stdio: "ignore",
    });
    await new Promise((resolve) => down.on("close", resolve));
  }
  dockerd.kill("SIGTERM");
  await new Promise((resolve) => dockerd.on("close", resolve));
  execFileSync("chmod", ["-R", "u+w", home]); // Go writes its module cache read-only
  rmSync(folder, { recursive: true, force: true });
}
