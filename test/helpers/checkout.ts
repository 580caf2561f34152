import { spawn, type ChildProcess } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { stringify } from "yaml";
import { setUp } from "../../toolchain/set-up.ts";

const PACKAGE = path.join(import.meta.dirname, "../..");

/** A program that runs its arguments on a terminal of their own and copies what they print. */
const TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/** A shell script that runs its arguments and types its own name, which is the answer, for them. */
const TYPED = `printf '%s\\n' "$0" | "$@"`;

/** The files and folders of a checkout, without node_modules, tests and documents. */
const PARTS = [
  "base",
  "bin",
  "certs",
  "cli",
  "database",
  "infra",
  "migrate",
  "migrations",
  "stack",
  "testing",
  "toolchain",
  "package.json",
  "package-lock.json",
  ".gitignore",
  "Pulumi.yaml",
  "Pulumi.dev.yaml",
  "Pulumi.prod.yaml",
];

export interface CommandResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Both, as a user sees them. */
  readonly all: string;
}

/** A command that is still running. */
export interface Running {
  readonly pid: number | undefined;
  /** Everything that the command printed so far. */
  output(): string;
  readonly result: Promise<CommandResult>;
  /** Kills the command and every process that it started, as a power cut would. */
  kill(): void;
}

/**
 * A copy of the package with a home of its own, so that a test may change settings and migrations and never touches
 * the developer's stacks. Tools, images and the engine are the ones set-up made; stacks need names of their own.
 */
export interface Checkout {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  /** Runs `aiwdb` to its end. */
  aiwdb(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<CommandResult>;
  /** Starts `aiwdb`. */
  start(args: readonly string[], env?: NodeJS.ProcessEnv): Running;
  /** Runs `aiwdb` on a terminal, with the answer typed ahead. Everything that it printed is in `stdout`. */
  onTerminal(args: readonly string[], env?: NodeJS.ProcessEnv, answer?: string): Promise<CommandResult>;
  /** Runs a shell script in the checkout. */
  shell(script: string, env?: NodeJS.ProcessEnv): Promise<CommandResult>;
  /** Writes a stack's settings file. */
  settings(stack: string, settings: Record<string, unknown>): void;
  /** The stack's state as Pulumi keeps it on disk. */
  stateFile(stack: string): string;
  remove(): void;
}

/** An environment with the tools and the engine, without the Pulumi settings of the caller. */
export async function toolEnvironment(): Promise<NodeJS.ProcessEnv> {
  const { env } = await setUp({ report: () => {} });
  const own = /^(PULUMI_CONFIG_PASSPHRASE(_FILE)?|PULUMI_STACK|AIWDB_ROTATE_(CERTIFICATES|AUTHORITY))$/;
  const rest = Object.fromEntries(Object.entries(env).filter(([name]) => !own.test(name)));
  return rest;
}

/** @param home folder for state, certificates and the copy; a temporary one if not given */
export async function createCheckout(
  home: string = mkdtempSync(path.join(tmpdir(), "aiwdb-test-")),
): Promise<Checkout> {
  const root = path.join(home, "checkout");
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true, mode: 0o700 });
  for (const part of PARTS) cpSync(path.join(PACKAGE, part), path.join(root, part), { recursive: true });
  symlinkSync(path.join(PACKAGE, "node_modules"), path.join(root, "node_modules"));
  const backend = path.join(home, "backend");
  mkdirSync(backend, { recursive: true });
  const env = {
    ...(await toolEnvironment()),
    XDG_STATE_HOME: path.join(home, "state"),
    XDG_DATA_HOME: path.join(home, "data"),
    PULUMI_BACKEND_URL: `file://${backend}`,
  };

  const aiwdb = path.join(root, "bin/aiwdb");
  const startProgram = (program: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): Running => {
    const child = spawn(program, [...args], {
      cwd: root,
      env: { ...env, ...more },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString("utf8")));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")));
    const result = new Promise<CommandResult>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (exitCode) => resolve({ exitCode, stdout, stderr, all: stdout + stderr }));
    });
    return { pid: child.pid, output: () => stdout + stderr, result, kill: () => killTree(child) };
  };
  const start = (args: readonly string[], more?: NodeJS.ProcessEnv) => startProgram(aiwdb, args, more);

  return {
    root,
    env,
    start,
    aiwdb: (args, more) => start(args, more).result,
    onTerminal: (args, more, answer = "") =>
      startProgram("sh", ["-c", TYPED, answer, "python3", "-c", TERMINAL, aiwdb, ...args], more).result,
    shell: (script, more) => startProgram("sh", ["-euc", script], more).result,
    settings: (stack, settings) => {
      const config = Object.fromEntries(
        Object.entries(settings).map(([key, value]) => [`ai-workflow-database:${key}`, value]),
      );
      writeFileSync(path.join(root, `Pulumi.${stack}.yaml`), stringify({ config }));
    },
    stateFile: (stack) => path.join(backend, ".pulumi/stacks/ai-workflow-database", `${stack}.json`),
    remove: () => rmSync(home, { recursive: true, force: true }),
  };
}

/** A process and its descendants, children first. Pulumi puts its plugins into process groups of their own. */
function tree(pid: number): number[] {
  if (!existsSync("/proc/self")) throw new Error("`npm test` needs Linux: it finds the processes to kill in /proc");
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const parent = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${name}/status`, "utf8"))?.[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      continue; // it ended meanwhile
    }
  }
  const below = (at: number): number[] => [...(children.get(at) ?? []).flatMap(below), at];
  return below(pid);
}

function killTree(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const pids = tree(child.pid);
  for (const signal of ["SIGSTOP", "SIGKILL"] as const) {
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch {
        continue; // it ended meanwhile
      }
    }
  }
}
