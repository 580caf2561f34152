import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import Docker from "dockerode";
import { findDockerd } from "../../toolchain/engine/private.ts";
import { until } from "../../base/retry.ts";

/** A Docker Engine for one test, in a network namespace of its own. The test may stop and kill it. */
export interface SecondEngine {
  readonly docker: Docker;
  readonly host: string;
  /** Runs a program where the engine's published ports are. */
  readonly enter: readonly string[];
  start(): Promise<void>;
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<void>;
  remove(): Promise<void>;
}

/** Whether this machine can run such an engine. That takes root, dockerd and namespaces. */
export function canHaveSecondEngine(): boolean {
  return (
    process.getuid?.() === 0 &&
    findDockerd() !== undefined &&
    spawnSync("unshare", ["--net", "ip", "link", "set", "lo", "up"]).status === 0
  );
}

export async function createSecondEngine(): Promise<SecondEngine> {
  const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-engine-"));
  const at = (name: string) => path.join(folder, name);
  mkdirSync(at("data"));
  writeFileSync(at("daemon.json"), "{}\n");
  // Keeps the namespace while the engine is down.
  const holder = spawn("unshare", ["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(holder.stdout, "data");
  const enter = ["nsenter", `--net=/proc/${holder.pid}/ns/net`];
  const socket = at("docker.sock");
  const docker = new Docker({ socketPath: socket });
  let engine: ChildProcess | undefined;
  const self: SecondEngine = {
    docker,
    host: `unix://${socket}`,
    enter,
    async start() {
      const log = openSync(at("log"), "a");
      const [program = "", ...args] = [...enter, findDockerd() ?? "dockerd"];
      const places = { "config-file": at("daemon.json"), "data-root": at("data"), "exec-root": at("exec") };
      const settings = { ...places, pidfile: at("pid"), host: `unix://${socket}`, bridge: "none" };
      const options = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
      engine = spawn(program, [...args, ...options], { stdio: ["ignore", log, log] });
      const answered = await until(
        () =>
          docker.ping().then(
            () => true,
            () => undefined,
          ),
        { deadlineMs: 60_000 },
      );
      if (!answered) throw new Error(`the second engine does not answer; see ${at("log")}`);
    },
    async stop(signal) {
      if (engine === undefined) return;
      const ended = once(engine, "exit");
      engine.kill(signal);
      await ended;
      engine = undefined;
      // A killed engine leaves containerd behind, and the next engine would wait for it in vain.
      if (signal === "SIGKILL") {
        spawnSync("pkill", ["-KILL", "-f", `containerd --config ${at("exec")}`]);
        rmSync(at("exec/containerd/containerd.pid"), { force: true });
      }
      rmSync(at("pid"), { force: true });
    },
    async remove() {
      const containers = await docker.listContainers({ all: true });
      for (const { Id } of containers) await docker.getContainer(Id).remove({ force: true, v: true });
      await self.stop("SIGTERM");
      holder.kill("SIGKILL");
      spawnSync("sh", ["-c", `grep ' ${folder}/' /proc/mounts | cut -d' ' -f2 | sort -r | xargs -r -n1 umount`]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await self.start();
  return self;
}
