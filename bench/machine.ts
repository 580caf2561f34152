import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, loadavg, release, totalmem, type } from "node:os";
import { engineClient } from "../toolchain/engine/client.ts";

/** Describes the machine without naming its owner. */
export async function describeMachine(): Promise<string> {
  const { ServerVersion } = (await engineClient(process.env["DOCKER_HOST"] ?? "").info()) as { ServerVersion: string };
  const pulumi = execFileSync("pulumi", ["version"], { encoding: "utf8" }).trim();
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
  return [
    `${availableParallelism()} cores${model ? ` (${model})` : ""}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${type()} ${release().split("-")[0]}, Docker Engine ${ServerVersion}, Node ${process.version}, Pulumi ${pulumi}`,
    `load before the run: ${loadavg()[0]?.toFixed(1)}`,
  ].join("; ");
}
