import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { askEngine } from "./client.ts";
import { ToolError } from "../../base/errors.ts";
import { withLock } from "../../base/lock.ts";
import { folders, privateFolder } from "../../base/paths.ts";
import { isEndedOrHidden, processStart } from "../../base/process-identity.ts";
import type { Report } from "../../base/progress.ts";
import { until } from "../../base/retry.ts";
import { lastLinesOf, readIfThere } from "../../base/text-file.ts";
import { readRecord, writeRecord } from "../record.ts";
import { findPrograms, run } from "../../base/run.ts";

/** The Docker Engine that set-up started for itself; the user's own is never recorded. */
export interface EngineRecord {
  readonly host: string;
  readonly pid: number;
  /** Tells the process from a later one with the same number. */
  readonly start: string;
  readonly dataRoot: string;
  /** Folder of its socket and run-time files. */
  readonly runtime: string;
}

const START_TIMEOUT_MS = 60_000;
/** The engine waits for its containers to stop. This is longer than they are given for it. */
const STOP_TIMEOUT_MS = 150_000;
/** dockerd lies in folders that only root has on PATH. */
const ADMIN_FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/**
 * Where the private engine has its socket and run-time files. The path is short, since that of a socket has at most 108
 * bytes. A reboot empties the folder. There is one for the machine, whatever data folder is in use, because two engines
 * would remove each other's packet filters.
 */
const RUNTIME_FOLDER = "/run/ai-workflow-database";

/** The private engine's address. */
export function privateHost(runtime: string = RUNTIME_FOLDER): string {
  return `unix://${join(runtime, "docker.sock")}`;
}

function logFile(): string {
  return join(folders().data, "engine/dockerd.log");
}

/** The record of the private engine, if one was ever started. */
export function recordedEngine(): EngineRecord | undefined {
  return readRecord<EngineRecord>("engine");
}

/** Whether the recorded process is alive and really is our engine, not one that got its number later. */
export function isOurs(record: EngineRecord): boolean {
  if (processStart(record.pid) !== record.start) return false;
  try {
    const words = readFileSync(`/proc/${record.pid}/cmdline`, "utf8").split("\0");
    // The program is the second word where the first is its interpreter.
    return words.slice(0, 2).some((word) => basename(word) === "dockerd") && words.includes(record.dataRoot);
  } catch (error) {
    if (!isEndedOrHidden(error)) throw error;
    return false; // it ended meanwhile
  }
}

async function untilAnswers(host: string, isRunning: () => boolean, log: string): Promise<void> {
  const answers = async () => {
    if ((await askEngine({ host }, 2_000)).state === "answers") return true;
    if (isRunning()) return undefined;
    throw new ToolError(
      `The private Docker Engine ended while it started:\n${lastLinesOf(readIfThere(log) ?? "", 10)}`,
      { subject: log, problem: "holds its log", remedy: "Set DOCKER_HOST to use another engine." },
    );
  };
  if (await until(answers, { deadlineMs: START_TIMEOUT_MS })) return;
  throw new ToolError(
    `The private Docker Engine did not answer within ${START_TIMEOUT_MS / 1000} s; its log is ${log}.`,
  );
}

function launch(dockerd: string, runtime: string): EngineRecord {
  const root = privateFolder(folders().data, "engine");
  const dataRoot = privateFolder(root, "data");
  const socket = join(privateFolder(runtime), "docker.sock");
  // A crash or a reboot leaves it. Another process may have its number by now, and dockerd would not start.
  rmSync(join(runtime, "dockerd.pid"), { force: true });
  rmSync(socket, { force: true });
  const log = logFile();
  if (existsSync(log)) renameSync(log, `${log}.old`);
  // Its own, because the machine's /etc/docker/daemon.json may name a data folder or hosts of another engine.
  const config = join(root, "daemon.json");
  writeFileSync(config, "{}\n");
  const args = [
    ["--config-file", config],
    ["--data-root", dataRoot],
    ["--exec-root", join(runtime, "exec")],
    ["--pidfile", join(runtime, "dockerd.pid")],
    ["--host", `unix://${socket}`],
    // Stacks have networks of their own; the default one could meet another engine's.
    ["--bridge", "none"],
  ].flat();
  const output = openSync(log, "a", 0o600);
  const env = { ...process.env, PATH: [process.env["PATH"], ...ADMIN_FOLDERS].join(":") };
  const child = spawn(dockerd, args, { detached: true, stdio: ["ignore", output, output], env, cwd: "/" });
  closeSync(output);
  child.unref();
  const pid = child.pid;
  if (pid === undefined) throw new ToolError(`${dockerd} can't be started.`);
  return { host: `unix://${socket}`, pid, start: processStart(pid) ?? "ended", dataRoot, runtime };
}

/** dockerd's path, if it and what it needs is installed. */
export function findDockerd(): string | undefined {
  const [dockerd] = findPrograms("dockerd", ADMIN_FOLDERS);
  const [iptables] = findPrograms("iptables", ADMIN_FOLDERS);
  return iptables === undefined ? undefined : dockerd;
}

/**
 * Starts the private engine, or waits for one that another command is just starting. It outlives this process.
 *
 * @returns its address
 */
export async function startPrivateEngine(
  dockerd: string,
  report: Report,
  runtime: string = RUNTIME_FOLDER,
): Promise<string> {
  return await withLock(`${runtime}.start`, async () => {
    const host = privateHost(runtime);
    const { state } = await askEngine({ host });
    if (state === "answers") return host;
    const recorded = recordedEngine();
    if (recorded !== undefined && isOurs(recorded)) {
      await untilAnswers(recorded.host, () => isOurs(recorded), logFile());
      return recorded.host;
    }
    if (state === "silent") {
      // Another data folder's set-up is starting it, or it hangs: either way it must not be started over.
      await untilAnswers(host, () => true, "with the other user of this package on this machine");
      return host;
    }
    report(`Docker Engine: starting a private one (data in ${join(folders().data, "engine")})`);
    const record = launch(dockerd, runtime);
    writeRecord("engine", record);
    await untilAnswers(record.host, () => processStart(record.pid) === record.start, logFile());
    return record.host;
  });
}

/**
 * Stops the private engine, and its containers with it; their data stays. Any other engine is left alone.
 *
 * @returns the address of the stopped engine, or undefined if none was running
 */
export async function stopPrivateEngine(): Promise<string | undefined> {
  const record = recordedEngine();
  if (record === undefined || !isOurs(record)) return undefined;
  process.kill(record.pid, "SIGTERM");
  if (!(await until(() => !isOurs(record) || undefined, { deadlineMs: STOP_TIMEOUT_MS }))) {
    throw new ToolError(
      `The private Docker Engine (process ${record.pid}) did not stop within ${STOP_TIMEOUT_MS / 1000} s.`,
    );
  }
  // The network namespace of a build on the host's network stays mounted after the engine has ended.
  for (const folder of mountsBelow(record.runtime)) await run("umount", ["--lazy", folder]);
  rmSync(record.runtime, { recursive: true, force: true });
  return record.host;
}

/** Mount points below a folder, the innermost first. https://man7.org/linux/man-pages/man5/proc_pid_mounts.5.html */
function mountsBelow(folder: string): string[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => (line.split(" ")[1] ?? "").replaceAll("\\040", " "))
    .filter((mountPoint) => mountPoint.startsWith(`${folder}/`))
    .toReversed();
}
